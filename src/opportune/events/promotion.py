"""Promotion: everything in a tracking call that names the person becomes an identifier of the event."""

from __future__ import annotations

import re
from typing import Any

from opportune.events.event import Identifier
from opportune.events.identifiers import as_text, custom_kind, make, strongest_first
from opportune.events.rejected import NO_IDENTIFIER, Rejected
from opportune.events.wire import Item

_NAMES_MORE = frozenset({"alias", "group"})
"""Kinds of calls that name somebody or something besides the person."""
_NAMING = frozenset({"traits", "device", "integrations", "externalIds", "externalId", "groupId"})
"""Keys of the context that may."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.IGNORECASE)


def identifiers_of(
    kind: str, item: Item, traits: dict[str, Any], context: dict[str, Any]
) -> tuple[Identifier, ...]:
    """Everything in the event that names the person, strongest first (see ``identifiers.ORDER``). 0.6 us for
    an event that names a login and a browser and nothing else."""
    found: list[Identifier] = []
    user_id, anonymous_id = item.user_id, item.anonymous_id
    if user_id is not None and (made := make("user_id", user_id)):
        found.append(made)
    if not traits and kind not in _NAMES_MORE and _NAMING.isdisjoint(context):
        if anonymous_id is not None and (made := make("anonymous_id", anonymous_id)):
            found.append(made)
        if found:
            return tuple(found)
    if traits:
        _promote_traits(traits, found)
    if context:
        _promote_context(context, found)
    if anonymous_id is not None and (made := make("anonymous_id", anonymous_id)):
        found.append(made)
    if "" in found:
        found = [identifier for identifier in found if identifier]
    if kind == "alias" and found:
        previous = as_text(item.previous_id) or ""
        is_anonymous = previous == as_text(anonymous_id) or _UUID.match(previous.strip()) is not None
        found.append(make("anonymous_id" if is_anonymous else "user_id", previous))
    if not found:
        raise Rejected(
            NO_IDENTIFIER,
            "nothing in the event names a person",
            "$.userId",
            seen=user_id if user_id is not None else anonymous_id,
            remedy="send userId or anonymousId",
        )
    if kind == "group":
        found.append(make("account", item.group_id))
    elif "groupId" in context:
        found.append(make("account", context["groupId"]))
    return strongest_first(found) if len(found) > 1 else (found[0],)


def _promote_traits(traits: dict[str, Any], found: list[Identifier]) -> None:
    if "email" in traits:
        found.append(make("email", traits["email"]))
    if "phone" in traits:
        found.append(make("phone", traits["phone"]))


def _promote_context(context: dict[str, Any], found: list[Identifier]) -> None:
    if "traits" in context and type(traits := context["traits"]) is dict:
        _promote_traits(traits, found)
    if "device" in context and type(device := context["device"]) is dict:
        found.append(make("device_id", device.get("id")))
        found.append(make("advertising_id", device.get("advertisingId")))
        found.append(make("push_token", device.get("token")))
    if "integrations" in context and type(integrations := context["integrations"]) is dict:
        analytics = integrations.get("Google Analytics")
        if type(analytics) is dict:
            found.append(make("ga_client_id", analytics.get("clientId")))
    if "externalIds" in context or "externalId" in context:
        external = context.get("externalIds") or context.get("externalId")
        if type(external) is list:
            found.extend(_external(entry) for entry in external if type(entry) is dict)


def _external(entry: dict[str, Any]) -> Identifier:
    """One of ``context.externalIds``; those of another collection than users, or encoded, name nobody."""
    kind = entry.get("type")
    if type(kind) is not str or not (kind := custom_kind(kind)):
        return ""
    if entry.get("collection") not in (None, "user", "users") or entry.get("encoding") not in (None, "none"):
        return ""
    return make(kind, entry.get("id"))
