"""What all decisions share, as a checkpoint of its own: items, models, bandits, stopped experiments; nobody's
leaf."""

from __future__ import annotations

from typing import Any

import msgspec

from opportune.engine.checkpoints import BANDITS_BLOB, NUMBERING_BLOB, SWITCHES_BLOB
from opportune.engine.state import State
from opportune.engine.turns import Turns
from opportune.stores.records import CheckpointWriter, RecordStore

ITEMS_AT_ONCE = 200


class SharedCheckpoint:
    """:meth:`turns` encode on the folding thread, which must fold nothing until they are through;
    :meth:`finish` writes, in any thread.

    ``store`` is a new one, in an empty folder: everything is written. Who has a session open is in it as
    digests with ``salt`` (see :meth:`InteractionLog.veil`). A folder with this checkpoint and no journal is
    loaded as any other: the owner keeps in ``meta`` how far it had read.
    """

    def __init__(self, state: State, store: RecordStore, meta: dict[str, Any], *, salt: bytes) -> None:
        self._state = state
        self._meta = meta
        self._writer: CheckpointWriter = store.begin()
        models = state.models
        models.log.veil(salt)
        models.abandon()
        self._parts = [models.begin()]
        self._bandits = msgspec.msgpack.encode(state.bandits.known)
        self._switches = msgspec.msgpack.encode(state.switches)

    def turns(self) -> Turns:
        """Encode the items, a few in every turn."""
        catalog, put = self._state.catalog, self._writer.put
        for number in range(len(catalog)):
            key, data = catalog.pack(number)
            if data:  # some are numbers without a record: events named them, and nothing more is known
                put(key.encode(), data)
            if number % ITEMS_AT_ONCE == ITEMS_AT_ONCE - 1:
                yield None
        self._parts.append(self._state.models.end())
        self._numbering = catalog.export_numbering()

    def finish(self) -> None:
        """Write and flush everything. Raises :class:`StorageError`."""
        writer = self._writer
        writer.put_blob(NUMBERING_BLOB, self._numbering)
        writer.put_blob(BANDITS_BLOB, self._bandits)
        writer.put_blob(SWITCHES_BLOB, self._switches)
        for part in self._parts:
            part(writer)
        writer.commit(1, self._meta)
