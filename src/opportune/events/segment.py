"""The Segment HTTP tracking dialect: bytes off the wire to :class:`Event`.

Source: Segment HTTP tracking API and the behaviour of its published clients, which send explicit nulls, leave
out what they do not know, and stamp ``sentAt`` on every try. Where the specification leaves a choice open:

- Size is taken liberally: :data:`SOFT_EVENT_BYTES` is for counting, :data:`MAX_EVENT_BYTES` refuses.
- Nesting beyond :data:`MAX_DEPTH` is refused: a journal entry must be writable from any stack depth.
- Whole numbers beyond 64 bits are kept as text, digit for digit; duplicate keys: the last one stands.
- Half a surrogate pair (text cut in the middle of an emoji) becomes U+FFFD.
- A ``messageId`` of 100 characters or more is replaced by its digest and kept in ``context.message_id``.
- Without a ``messageId`` but with a time of its own, the id is a digest of the bytes, so that a retry is a
  duplicate; without either, a repeat cannot be told from a second event, so arrival and position count too.
- ``name`` of everything but ``track`` is its kind: a page called "Order Completed" is no order.
- ``identify`` takes its traits from ``context.traits`` too, where RudderStack's clients put them, and their
  ``context.externalId`` is read as ``context.externalIds``.
- ``group`` traits describe the account and stay in ``properties.traits``; ``traits`` are a person's.
- ``previousId`` of an ``alias`` is an anonymous id when it equals ``anonymousId`` or looks like a UUID (what
  clients generate), else a user id.
- Batch-level ``context`` and ``integrations`` fill what the item leaves out, key by key.
- Non-empty ``integrations`` are kept in ``context.integrations``; ``_metadata`` is dropped.
"""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

import msgspec

from opportune.clock import Millis
from opportune.errors import InvalidRequest
from opportune.events import ecommerce, moments
from opportune.events.event import Event, Identifier, Line
from opportune.events.identifiers import as_text, custom_kind, make, strongest_first, tidy
from opportune.events.rejected import (
    BAD_TIME,
    MISSING_FIELD,
    NO_IDENTIFIER,
    TOO_DEEP,
    TOO_LARGE,
    UNKNOWN_TYPE,
    UNREADABLE,
    WRONG_TYPE,
    Rejected,
)
from opportune.events.salvage import is_writable, items_of, mend, tidied

SOFT_EVENT_BYTES = 32 * 1024
MAX_EVENT_BYTES = 4 * 1024 * 1024
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_BATCH_ITEMS = 10_000
MAX_DEPTH = 64
_INNER_DEPTH = MAX_DEPTH - 2
MESSAGE_ID_CHARS = 100
NAME_CHARS = 512

KINDS = frozenset({"track", "identify", "page", "screen", "group", "alias"})
SHORT_FORMS = {"t": "track", "i": "identify", "p": "page", "g": "group", "a": "alias", "s": "screen"}
"""The browser client's one-letter endpoints; ``b`` is a batch, ``m`` its own metrics."""

RawItem: TypeAlias = "msgspec.Raw | bytes"


class Batch(NamedTuple):
    """A request body taken apart as far as is safe: each item is still bytes, so one cannot spoil another."""

    items: list[RawItem]
    sent_at: Millis | None
    write_key: str
    context: dict[str, Any] | None
    integrations: dict[str, Any] | None


class _BatchBody(msgspec.Struct, rename="camel"):
    batch: list[msgspec.Raw]
    sent_at: Any = None
    write_key: Any = None
    context: Any = None
    integrations: Any = None


class _SingleBody(msgspec.Struct, rename="camel"):
    sent_at: Any = None
    write_key: Any = None


Properties: TypeAlias = "dict[str, Any] | None"


class _Item(msgspec.Struct, rename="camel", gc=False):
    type: str | None = None
    event: Any = None
    user_id: str | int | float | None = None
    anonymous_id: str | int | float | None = None
    message_id: str | int | None = None
    timestamp: str | int | float | None = None
    original_timestamp: str | int | float | None = None
    sent_at: Any = None
    properties: Properties = None
    traits: Properties = None
    context: Properties = None
    integrations: Any = None
    previous_id: str | int | float | None = None
    group_id: str | int | float | None = None
    name: Any = None
    category: Any = None
    decision_id: Any = msgspec.field(default=None, name="decision_id")


_decode_batch = msgspec.json.Decoder(_BatchBody).decode
_decode_single = msgspec.json.Decoder(_SingleBody).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_decode_item = msgspec.json.Decoder(_Item).decode
_encode = msgspec.json.Encoder().encode
_known_name = ecommerce.KNOWN.get

_PATH = re.compile(r" - at `(?P<path>[^`]+)`$")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.IGNORECASE)


def split_batch(body: bytes) -> Batch:
    """Take a batch body apart. O(len(body)); about 0.2 us per item.

    Raises :class:`InvalidRequest` for a body that is not JSON at all, has no list ``batch``, or is over the
    limits. A body in which some items are broken (NaN, nesting, cut surrogates) is still taken apart.
    """
    _check_size(body)
    try:
        found = _decode_batch(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            _without_path(error),
            where=_path_in(error) or "$",
            remedy='send {"batch": [event, ...], "sentAt": "..."}',
        ) from error
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        salvaged = items_of(body)
        if salvaged is None or not any(map(_is_readable, salvaged[0])):
            raise InvalidRequest(
                _unreadable(error), where="$", remedy="send a JSON object in UTF-8"
            ) from error
        items, rest = salvaged
        found = _BatchBody(
            [], rest.get("sentAt"), rest.get("writeKey"), rest.get("context"), rest.get("integrations")
        )
        return _batch(list(items), found)
    return _batch(list(found.batch), found)


def split_single(body: bytes) -> Batch:
    """The body of a single-event endpoint as a batch of one. Only the key and the sending time are read: an
    event that cannot be read further is refused by :func:`normalize`, with its reason.

    Raises :class:`InvalidRequest` for a body that is not a JSON object or is over the limits.
    """
    _check_size(body)
    try:
        found = _decode_single(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            _without_path(error), where=_path_in(error) or "$", remedy="send one event as a JSON object"
        ) from error
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        mended = mend(body)
        try:
            found = _decode_single(mended)
        except (msgspec.DecodeError, RecursionError, ValueError):
            raise InvalidRequest(
                _unreadable(error), where="$", remedy="send a JSON object in UTF-8"
            ) from error
        body = mended
    return Batch([body], sending_time(found.sent_at), _key(found.write_key), None, None)


def pixel_body(data: str) -> bytes:
    """The event in the pixel endpoints' ``data``: base64 in either alphabet, padding optional."""
    text = data.strip().replace("-", "+").replace("_", "/").replace(" ", "+")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(
            "the pixel's data is not base64", where="data", remedy="send base64 of one event as JSON"
        ) from error


def normalize(
    raw: RawItem | dict[str, Any],
    *,
    kind: str | None,
    source: str,
    received: Millis,
    sent_at: Millis | None = None,
    batch_context: dict[str, Any] | None = None,
    position: int = 0,
) -> Event:
    """One wire event as an :class:`Event`; :class:`Rejected` when it cannot be stored.

    ``kind`` is fixed by a single-event endpoint; None takes the item's ``type``. ``sent_at`` is the batch's
    sending time, used where the item has none. ``batch_context`` is the batch's context, with its
    integrations as ``integrations`` in it. ``position`` is the item's index in its request. O(len(raw)).
    """
    data = _encoded(raw) if isinstance(raw, dict) else bytes(raw)
    if len(data) > MAX_EVENT_BYTES:
        raise Rejected(TOO_LARGE, f"the event is larger than {MAX_EVENT_BYTES} bytes", "$", seen=len(data))
    try:
        item = _decode_item(data)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        item = _second_try(data, error)
    _make_writable(item)
    if kind is None:
        kind = item.type
        if kind is None or kind not in KINDS:
            kind = _kind(kind)
    context = _context(item, batch_context)
    properties = item.properties or {}
    traits: dict[str, Any] = {}
    if kind == "track":
        event = item.event
        found = _known_name(event) if type(event) is str else None
        name = _event_name(event) if found is None else found
    else:
        name = kind
        if kind == "identify":
            traits = item.traits or {}
            if "traits" in context and (elsewhere := _mapping(context["traits"])):
                traits = {**elsewhere, **traits}
        elif kind == "group":
            properties = _group_properties(item)
        elif kind == "alias":
            properties = {**properties, "previousId": _previous(item)}
        else:
            _describe_page(kind, item, properties, context)
    if item.traits and kind != "identify" and kind != "group":
        context["traits"] = {**item.traits, **(_mapping(context.get("traits")) or {})}

    identifiers = _identifiers(kind, item, traits, context)
    time, note = _time(item, sent_at, received)
    if note:
        context["clock"] = {"note": note, "sent": item.original_timestamp or item.timestamp}

    message_id = item.message_id
    if type(message_id) is not str or not 0 < len(message_id) < MESSAGE_ID_CHARS:
        message_id = _message_id(item, data, kind, received, position, context)

    lines: tuple[Line, ...] = ()
    value: float | None = None
    query = ""
    if properties:
        lines = ecommerce.lines_of(name, properties)
        value = ecommerce.value_of(name, properties, lines)
        query = ecommerce.query_of(name, properties)
    return Event(
        kind,
        name,
        message_id,
        source,
        time,
        received,
        identifiers,
        _session_id(properties, context),
        lines,
        value,
        query,
        _decision_id(item.decision_id, properties, context),
        properties,
        traits,
        context,
    )


def _context(item: _Item, batch_context: dict[str, Any] | None) -> dict[str, Any]:
    """The item's context over the batch's, with the call's integrations in it."""
    context = item.context
    if context is None:
        context = {}
    if batch_context:
        context = {**batch_context, **context}
    if item.integrations and (integrations := _mapping(item.integrations)):
        known = _mapping(context.get("integrations"))
        context["integrations"] = {**known, **integrations} if known else integrations
    return context


def _is_readable(item: bytes) -> bool:
    try:
        _decode_raw(mend(item))
    except RecursionError:
        return True  # JSON, though not of a kind that we keep
    except (msgspec.DecodeError, ValueError):
        return False
    return True


def _check_size(body: bytes) -> None:
    if len(body) > MAX_BODY_BYTES:
        raise InvalidRequest(
            f"the body is larger than {MAX_BODY_BYTES} bytes",
            seen=len(body),
            remedy="send smaller batches (500 kB is customary)",
        )


def _batch(items: list[RawItem], found: _BatchBody) -> Batch:
    if len(items) > MAX_BATCH_ITEMS:
        raise InvalidRequest(
            f"a batch holds at most {MAX_BATCH_ITEMS} events",
            seen=len(items),
            where="$.batch",
            remedy="send smaller batches (2,500 events is customary)",
        )
    return Batch(
        items,
        sending_time(found.sent_at),
        _key(found.write_key),
        _shared(found.context, "$.context"),
        _shared(found.integrations, "$.integrations"),
    )


def sending_time(sent: Any) -> Millis | None:
    """``sentAt`` as milliseconds. The transport's clock never refuses an event: what cannot be read counts
    as absent."""
    if type(sent) not in (str, int, float):
        return None
    try:
        return moments.read(sent)
    except (moments.BadTime, OverflowError):
        return None


def _key(sent: Any) -> str:
    return sent if type(sent) is str else ""


def _shared(sent: Any, where: str) -> dict[str, Any] | None:
    """What a batch says once for all its items."""
    found = _mapping(sent)
    if found is None or is_writable(found.values(), _INNER_DEPTH):
        return found
    return _mapping(tidied(found, MAX_DEPTH, where))


def _mapping(sent: Any) -> dict[str, Any] | None:
    return sent if type(sent) is dict and sent else None


def _encoded(raw: dict[str, Any]) -> bytes:
    """A caller's dict as the bytes that would have come over the wire: one path for both."""
    try:
        return _encode(raw)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        code = TOO_DEEP if isinstance(error, RecursionError) else WRONG_TYPE
        raise Rejected(code, f"the event cannot be written as JSON: {error}") from error


def _second_try(data: bytes, error: Exception) -> _Item:
    """Decode once more after mending what can be mended; else say what is wrong, and where."""
    if isinstance(error, msgspec.ValidationError):
        raise Rejected(WRONG_TYPE, _without_path(error), _path_in(error) or "$") from error
    if isinstance(error, RecursionError):
        raise Rejected(
            TOO_DEEP, f"nested deeper than {MAX_DEPTH} levels", remedy="flatten the event"
        ) from error
    mended = mend(data)
    if mended is not data:
        try:
            return _decode_item(mended)
        except (msgspec.DecodeError, RecursionError, ValueError) as again:
            error = again
    if isinstance(error, msgspec.ValidationError):
        raise Rejected(WRONG_TYPE, _without_path(error), _path_in(error) or "$") from error
    raise Rejected(UNREADABLE, _unreadable(error)) from error


def _make_writable(item: _Item) -> None:
    """Everything kept must fit a journal entry: 64-bit numbers, nested no deeper than :data:`MAX_DEPTH`."""
    if item.properties and not is_writable(item.properties.values(), _INNER_DEPTH):
        item.properties = tidied(item.properties, MAX_DEPTH, "$.properties")
    if item.context and not is_writable(item.context.values(), _INNER_DEPTH):
        item.context = tidied(item.context, MAX_DEPTH, "$.context")
    if item.traits and not is_writable(item.traits.values(), _INNER_DEPTH):
        item.traits = tidied(item.traits, MAX_DEPTH, "$.traits")
    integrations = item.integrations
    if type(integrations) is dict and integrations and not is_writable(integrations.values(), _INNER_DEPTH):
        item.integrations = tidied(integrations, MAX_DEPTH, "$.integrations")


def _kind(sent: str | None) -> str:
    if sent is None:
        raise Rejected(MISSING_FIELD, "the event has no type", "$.type", remedy=_KINDS_REMEDY)
    if sent in KINDS:
        return sent
    lowered = sent.strip().lower()
    if lowered in KINDS:
        return lowered
    raise Rejected(UNKNOWN_TYPE, "no such event type", "$.type", seen=sent, remedy=_KINDS_REMEDY)


_KINDS_REMEDY = "send track, identify, page, screen, group or alias"


def _event_name(sent: Any) -> str:
    if sent is not None and type(sent) is not str:
        raise Rejected(WRONG_TYPE, "the name of the event must be text", "$.event", seen=sent)
    if not sent or not (name := sent.strip()):
        raise Rejected(MISSING_FIELD, "a track call needs the name of the event", "$.event")
    if len(name) > NAME_CHARS:
        raise Rejected(
            TOO_LARGE, f"an event name has at most {NAME_CHARS} characters", "$.event", seen=len(name)
        )
    return ecommerce.canonical_name(name)


_PAGE_FIELDS = ("path", "referrer", "search", "title", "url")


def _describe_page(kind: str, item: _Item, properties: dict[str, Any], context: dict[str, Any]) -> None:
    """Name and category, which the call carries beside its properties, and what the browser knew of the page,
    where the properties do not say."""
    if type(item.name) is str and item.name and "name" not in properties:
        properties["name"] = item.name
    if type(item.category) is str and item.category and "category" not in properties:
        properties["category"] = item.category
    page = context.get("page") if kind == "page" else None
    if type(page) is dict:
        for field in _PAGE_FIELDS:
            if field in page and field not in properties:
                properties[field] = page[field]


def _group_properties(item: _Item) -> dict[str, Any]:
    group_id = as_text(item.group_id)
    if not group_id or not tidy("account", group_id):
        raise Rejected(
            MISSING_FIELD, "a group call needs the id of the group", "$.groupId", seen=item.group_id
        )
    properties = {**(item.properties or {}), "groupId": group_id}
    if item.traits:
        properties["traits"] = item.traits
    return properties


def _previous(item: _Item) -> str:
    previous = as_text(item.previous_id)
    if not previous or not tidy("user_id", previous):
        raise Rejected(
            MISSING_FIELD, "an alias call needs the previous id", "$.previousId", seen=item.previous_id
        )
    return previous


def _identifiers(
    kind: str, item: _Item, traits: dict[str, Any], context: dict[str, Any]
) -> tuple[Identifier, ...]:
    """Everything in the event that names the person, strongest first (see ``identifiers.ORDER``)."""
    found: list[Identifier] = []
    user_id = item.user_id
    if user_id is not None and (made := make("user_id", user_id)):
        found.append(made)
    if traits:
        _promote_traits(traits, found)
    if context:
        _promote_context(context, found)
    anonymous_id = item.anonymous_id
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
    get = context.get
    traits = get("traits")
    if type(traits) is dict:
        _promote_traits(traits, found)
    device = get("device")
    if type(device) is dict:
        found.append(make("device_id", device.get("id")))
        found.append(make("advertising_id", device.get("advertisingId")))
        found.append(make("push_token", device.get("token")))
    integrations = get("integrations")
    if type(integrations) is dict:
        analytics = integrations.get("Google Analytics")
        if type(analytics) is dict:
            found.append(make("ga_client_id", analytics.get("clientId")))
    external = get("externalIds") or get("externalId")
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


def _time(item: _Item, sent_at: Millis | None, received: Millis) -> tuple[Millis, str]:
    field = "originalTimestamp" if item.original_timestamp is not None else "timestamp"
    occurred = item.original_timestamp if item.original_timestamp is not None else item.timestamp
    if occurred is None:
        return received, ""
    try:
        time = moments.read(occurred)
    except (moments.BadTime, OverflowError) as error:
        raise Rejected(BAD_TIME, str(error), f"$.{field}", remedy="send an ISO 8601 time in UTC") from error
    if item.sent_at is not None:
        own = sending_time(item.sent_at)
        sent_at = sent_at if own is None else own
    return moments.corrected(time, sent_at, received)


def _message_id(
    item: _Item, data: bytes, kind: str, received: Millis, position: int, context: dict[str, Any]
) -> str:
    """An id for an event that has none, or one too long to keep; see the head of this file."""
    sent = item.message_id
    if sent is not None and sent != "":
        text = str(sent)
        if len(text) < MESSAGE_ID_CHARS:
            return text
        context["message_id"] = text[:1_000]
        return "sha-" + blake2b(text.encode(), digest_size=16).hexdigest()
    digest = blake2b(data, digest_size=16, person=kind.encode()[:16])
    if item.timestamp is None and item.original_timestamp is None:
        digest.update(b"%d %d" % (received, position))
    return "sha-" + digest.hexdigest()


def _session_id(properties: dict[str, Any], context: dict[str, Any]) -> str:
    found = (
        properties.get("session_id")
        or properties.get("sessionId")
        or context.get("sessionId")
        or context.get("session_id")
    )
    text = found if type(found) is str else as_text(found)
    return text if text and len(text) <= 256 else ""


def _decision_id(sent: Any, properties: dict[str, Any], context: dict[str, Any]) -> str:
    found = sent or properties.get("decision_id") or context.get("decision_id")
    return found if type(found) is str and len(found) <= 256 else ""


def _path_in(error: Exception) -> str:
    found = _PATH.search(str(error))
    return found["path"] if found else ""


def _without_path(error: Exception) -> str:
    return _PATH.sub("", str(error)).replace("`", "")


def _unreadable(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8: byte 0x{error.object[error.start]:02x}"
    if isinstance(error, RecursionError):
        return f"nested deeper than {MAX_DEPTH} levels"
    return str(error)
