"""All logical state as one fingerprint: two engines that folded the same journal have the same."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import msgspec

from opportune.catalog.items import RECORD_PREFIX
from opportune.catalog.record import encode_item
from opportune.engine.state import State
from opportune.stores.recovery import canonical


def dump(state: State) -> Iterator[tuple[str, bytes]]:
    """Every part of the state by name, in canonical bytes. For checks: holds nothing back, costs O(state)."""
    for key, data in state.records.items():
        if not key.startswith(RECORD_PREFIX):  # the catalogue tells its own, as they are now
            yield key, data
    catalog = state.catalog
    for number, item_id in enumerate(catalog.ids):
        yield f"item:{item_id}", b"%d " % number + encode_item(catalog.record(number))
    log = state.models.log
    yield "interactions/state", log.export_state()
    for chunk in log.chunks():
        yield f"interactions/{chunk}", log.export_chunk(chunk)
    yield "dedupe", b"".join(sorted(b"%d " % day + mark for day, mark in state.dedupe.marks()))
    yield "accounting", msgspec.msgpack.encode(state.accounting, order="deterministic")
    yield "dead-letters", msgspec.msgpack.encode(state.dead_letters)
    yield "next", b"%d" % state.next_seq


def fingerprint(state: State) -> str:
    """SHA-256 of :func:`dump`, in hexadecimal."""
    return sha256(canonical(dump(state))).hexdigest()
