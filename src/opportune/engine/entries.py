"""What the journal holds: one tagged union, encoded as compact MessagePack."""

from __future__ import annotations

import msgspec

from opportune.decide.request import DecisionRecord
from opportune.events.event import DeadLetter, Event, Resolved, Tally
from opportune.experiments.switch import Switch
from opportune.privacy.order import Order

Entry = Event | DecisionRecord | DeadLetter | Tally | Resolved | Switch | Order

encode = msgspec.msgpack.Encoder().encode
"""Entry to bytes, about 1 us for an event."""

decode = msgspec.msgpack.Decoder(Entry).decode
"""Bytes to entry; raises ``msgspec.ValidationError`` for anything else."""
