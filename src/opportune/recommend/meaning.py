"""Content neighbours by meaning: items whose descriptions say similar things, in whatever words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.recommend.columns import newest_of_session
from opportune.recommend.source import Candidates, Interactions, Query
from opportune.recommend.vectors import ItemVectors

Encoder = Callable[[Sequence[str]], npt.NDArray[np.float32]]
LAST_ITEMS = 5
POSITION_DECAY = 0.7
OPEN_ITEM = 1.5
MAX_TEXT = 400
"""Characters of a description that are encoded; the model reads 128 tokens."""


class ContentMeaning:
    """Items near the weighted mean of the vectors of the session's newest items and the open item (Rocchio's
    profile, in the space of :class:`opportune.catalog.embedding.MiniLM` or any other encoder). Learns from
    the catalogue alone: describing costs the encoder's time, 6 ms a text, so it is done in bulk at ``learn``;
    ``recommend`` is one search: 1.4 ms over 4,000 items of 384 dimensions, 3.4 ms over
    40,000. Items of the session are not proposed.
    """

    name = "content_meaning"
    reason = "similar"

    def __init__(self, encoder: Encoder, dimensions: int, *, exact_up_to: int | None = None) -> None:
        self._encoder = encoder
        self.vectors = ItemVectors(dimensions, exact_up_to=exact_up_to)
        self._said: dict[int, bytes] = {}
        self.generation = 0

    def describe(self, numbers: Sequence[int], texts: Sequence[str]) -> None:
        """These items are now described by these texts; an empty one withdraws an item. A text that says
        what it said before is not encoded again."""
        new: dict[int, str] = {}
        for number, text in zip(numbers, texts, strict=True):
            mark = blake2b(text[:MAX_TEXT].encode(), digest_size=8).digest()
            if self._said.get(number) != mark:
                self._said[number] = mark
                new[number] = text[:MAX_TEXT]
        if not new:
            return
        self.generation += 1
        vectors = np.zeros((len(new), self.vectors.dimensions), np.float32)
        said = [i for i, text in enumerate(new.values()) if text.strip()]
        if said:
            every = list(new.values())
            vectors[said] = self._encoder([every[i] for i in said])
        self.vectors.put(list(new), vectors)
        self.vectors.prepare()

    def freeze(self) -> Callable[[], bytes]:
        """The vectors as they are now; what is returned encodes them, in any thread. O(items)."""
        said = dict(self._said)
        rows = [self.vectors.of(number) for number in said]
        empty = np.zeros(self.vectors.dimensions, np.float32)
        whole = (
            np.stack([empty if row is None else row for row in rows])
            if rows
            else np.zeros((0, 0), np.float32)
        )
        return lambda: msgspec.msgpack.encode((list(said), list(said.values()), whole.tobytes()))

    def restore(self, data: bytes) -> None:
        """Take the vectors back from what :meth:`freeze` gave."""
        numbers, said, vectors = msgspec.msgpack.decode(data, type=tuple[list[int], list[bytes], bytes])
        self._said = dict(zip(numbers, said, strict=True))
        found = np.frombuffer(vectors, np.float32).reshape(len(numbers), -1)
        if found.shape[1:] == (self.vectors.dimensions,):
            self.vectors.put(numbers, found)
            self.vectors.prepare()
        else:
            self._said = {}  # another encoder's: everything is encoded again

    def fit(self, interactions: Interactions) -> None:
        """Nothing to learn from touches."""

    def update(self, interactions: Interactions) -> None:
        """Nothing to learn from touches."""

    def recommend(self, query: Query) -> Candidates:
        session = newest_of_session(query).tolist()
        speakers: list[tuple[npt.NDArray[np.float32], int]] = []
        mean = np.zeros(self.vectors.dimensions, np.float32)
        asked = {**({query.item: OPEN_ITEM} if query.item >= 0 else {})}
        for back, item in enumerate(dict.fromkeys(reversed(session))):
            if back == LAST_ITEMS:
                break
            asked[item] = asked.get(item, 0.0) + POSITION_DECAY**back
        for item, weight in asked.items():
            vector = self.vectors.of(item)
            if vector is not None:
                mean += np.float32(weight) * vector
                if item in session:
                    speakers.append((vector, item))
        length = float(np.linalg.norm(mean))
        if not length:
            return Candidates(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int32))
        found, score = self.vectors.nearest(mean / np.float32(length), int(query.count) + len(asked))
        new = ~np.isin(found, [*asked, *session])
        found, score = found[new][: query.count], score[new][: query.count]
        because = np.full(len(found), -1, np.int32)
        if speakers and len(found):
            own = np.stack([vector for vector, _ in speakers])
            theirs = self.vectors.rows(found)
            because = np.array([speakers[s][1] for s in (theirs @ own.T).argmax(axis=1)], np.int32)
        return Candidates(found, score, because)
