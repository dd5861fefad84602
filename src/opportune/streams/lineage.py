"""Which versions of the folds have written a partition, kept in its state: it moves, commits and is restored
together with the leaves.

While a cluster is upgraded, workers of two versions run side by side, and a partition may come back to an old
one after a new one has folded it. The old one would drop what it does not know from every leaf it touches, so
it must find out before it touches any.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from opportune.errors import StorageError
from opportune.profiles import codec
from opportune.profiles.schema import ProfileSchema
from opportune.streams.marks import packed, unpacked

KEY = b"v:"
"""Where it lies in the state of a partition; no identifier is called so."""

MOST_KEPT = 32

_canonical = msgspec.msgpack.Encoder(order="deterministic")


class FoldVersion(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What decides how leaves are folded and written.

    ``generation`` is chosen by those who run the cluster (the revision of its definitions, or the number in
    ``cluster.yaml``), ``code`` that of the codec, ``definitions`` a digest of features, windows and rules of
    traits; ``layout`` are the features, four bytes each. ``since`` is the first message that it folded.
    """

    generation: int
    code: int
    definitions: bytes = b""
    layout: bytes = b""
    since: int = 0

    @classmethod
    def of(
        cls, schema: ProfileSchema, generation: int = 0, *, session: ProfileSchema | None = None
    ) -> FoldVersion:
        """That of a worker with these definitions of people, and of their sessions where there are any."""
        about = [
            (one.layout, one.spans, dict(one.survivorship)) for one in (schema, session) if one is not None
        ]
        digest = blake2b(_canonical.encode(about), digest_size=8).digest()
        return cls(generation, codec.VERSION, digest, schema.layout)

    @classmethod
    def of_links(cls, generation: int = 0) -> FoldVersion:
        """Links are folded alike whatever the definitions say."""
        return cls(generation, codec.VERSION)

    def like(self, other: FoldVersion) -> bool:
        """Whether both fold alike, whatever generation they are."""
        return self.code == other.code and self.definitions == other.definitions

    def __str__(self) -> str:
        about = f"definitions {self.definitions.hex()[:8]}, " if self.definitions else ""
        return f"{about}generation {self.generation}, codec {self.code}"


_decode = msgspec.msgpack.Decoder(list[FoldVersion]).decode


class Replaced(StorageError):
    """Another version has taken the partition over."""

    code = "replaced"


def read(record: bytes | None) -> list[FoldVersion]:
    """The versions that have folded a partition, oldest first; none when none has said so."""
    return _decode(unpacked(record)[1]) if record else []


def written(versions: list[FoldVersion]) -> bytes:
    """The record of them; the newest are kept."""
    return packed(b"", msgspec.msgpack.encode(versions[-MOST_KEPT:]))


def takes_over(versions: list[FoldVersion], mine: FoldVersion) -> bool:
    """Whether ``mine`` is to be added to them; false when it folds as the last one does.

    A higher generation takes over, a lower one has been replaced. Within one, whoever is new takes over from
    those who were there before and never gets the partition back: only a higher generation goes back.
    Raises :class:`Replaced`.
    """
    if not versions:
        return True
    last = versions[-1]
    if last.like(mine):
        return False
    if mine.generation > last.generation:
        return True
    is_old = mine.generation < last.generation or mine.code < last.code
    if is_old or any(version.like(mine) for version in versions):
        raise Replaced(
            f"leaves were written by a newer version ({last}) than this worker's ({mine})",
            remedy="start it with the newer release and definitions; to go back to the older ones, restore "
            "their revision or raise generation in cluster.yaml",
        )
    return True
