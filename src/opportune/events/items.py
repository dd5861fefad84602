"""The catalogue dialect: one item with its attributes, as shops export them, to :class:`Event`.

``{"item_id": "22423", "name": "Regency Cakestand", "price": 12.75, "category": "Kitchen"}``.
The id may be called ``item_id``, ``product_id``, ``sku`` or ``id``; ``timestamp`` says since when it holds
(default: arrival), and an older update never overwrites a newer one. ``null`` withdraws an attribute.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from opportune.clock import Millis
from opportune.events import moments
from opportune.events.event import Event, Line
from opportune.events.rejected import BAD_TIME, MISSING_FIELD, UNREADABLE, WRONG_TYPE, Rejected
from opportune.events.salvage import is_writable, mend, tidied

ID_FIELDS = ("item_id", "product_id", "sku", "id")
MAX_ITEM_BYTES = 64 * 1024
MAX_DEPTH = 64

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def item_event(raw: bytes | msgspec.Raw | dict[str, Any], *, source: str, received: Millis) -> Event:
    """One catalogue row as an event of kind ``item``; :class:`Rejected` when it cannot be used.

    Without a ``messageId`` the id is a digest of the content: sending a catalogue again changes nothing.
    """
    try:
        data = _encode(raw) if isinstance(raw, dict) else bytes(raw)
        fields = _decode(mend(data))
    except msgspec.ValidationError as error:
        raise Rejected(WRONG_TYPE, "an item is a JSON object", "$") from error
    except (msgspec.DecodeError, RecursionError, TypeError, ValueError) as error:
        raise Rejected(UNREADABLE, f"the item is not readable JSON: {error}", "$") from error
    if not is_writable(fields.values(), MAX_DEPTH - 1):
        fields = tidied(fields, MAX_DEPTH, "$")
    if len(data) > MAX_ITEM_BYTES:
        raise Rejected(WRONG_TYPE, f"an item takes at most {MAX_ITEM_BYTES} bytes", "$", seen=len(data))
    item_id = _item_id(fields)
    sent = fields.pop("timestamp", None)
    time = received if sent is None else _time(sent, received)
    message_id = fields.pop("messageId", None)
    if type(message_id) is not str or not 0 < len(message_id) < 100:
        digest = blake2b(item_id.encode("utf-8", "replace"), digest_size=16, person=b"catalogue")
        digest.update(_encode({"time": sent, "fields": fields}))
        message_id = digest.hexdigest()
    line = Line(item_id)
    return Event("item", "item", message_id, source, time, received, lines=(line,), properties=fields)


def _item_id(fields: dict[str, Any]) -> str:
    for name in ID_FIELDS:
        value = fields.pop(name, None)
        if type(value) is int:
            value = str(value)
        if type(value) is str and value.strip():
            return value.strip()
    raise Rejected(MISSING_FIELD, "the item has no id", "$.item_id", remedy="send item_id as text")


def _time(sent: Any, received: Millis) -> Millis:
    if type(sent) not in (str, int, float):
        raise Rejected(WRONG_TYPE, "timestamp must be text or a number", "$.timestamp", seen=sent)
    try:
        time = moments.read(sent)
    except (moments.BadTime, OverflowError) as error:
        raise Rejected(BAD_TIME, str(error) or "not a time", "$.timestamp", seen=sent) from error
    return received if time is None else min(time, received)
