"""The models that are learnt from interactions: one log, and the candidate sources that follow it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from opportune.catalog.items import Catalog
from opportune.clock import Millis
from opportune.recommend.content import ContentSimilarity
from opportune.recommend.covisitation import CoVisitation
from opportune.recommend.interactions import InteractionLog
from opportune.recommend.meaning import ContentMeaning
from opportune.recommend.popular import MostBought, Popular, PopularInCategory, Trending
from opportune.recommend.rank_signals import RankSignals
from opportune.recommend.session_knn import SessionKnn, SessionKnnConfig
from opportune.recommend.source import CandidateSource
from opportune.stores.records import CheckpointWriter

STATE_BLOB = "interactions/state"
CHUNK_BLOB = "interactions/chunk-{:06d}"
CONTENT_BLOB = "content/index"
MEANING_BLOB = "content/meaning"
OPEN_SESSIONS = 50_000
"""Sessions whose next touch continues them without an explicit session id."""
ENOUGH = 128
"""Touches, or descriptions, that are learnt without being asked for: 5 us each whether 64 or 512 come at
once, and 512 would hold everybody up for 3 ms."""


class Models:
    """Sources by name. ``touch`` records, ``learn`` lets every source catch up with what was recorded."""

    def __init__(self, catalog: Catalog, optional: Sequence[CandidateSource] = ()) -> None:
        self._catalog = catalog
        self.log = InteractionLog(open_sessions=OPEN_SESSIONS)
        self.content = ContentSimilarity()
        learners: list[CandidateSource] = [
            SessionKnn(SessionKnnConfig.light()),
            CoVisitation(),
            Trending(),
            Popular(),
            MostBought(),
            PopularInCategory(lambda: catalog.category),
            *optional,
        ]
        self._meaning = next((s for s in optional if isinstance(s, ContentMeaning)), None)
        self._learners = learners
        self.sources: dict[str, CandidateSource] = {s.name: s for s in [*learners, self.content]}
        self.signals: RankSignals | None = None
        self._learnt = 0
        self._undescribed: set[int] = set()
        self._stored_chunks: set[int] = set()
        self._stored_content = 0
        self._stored_meaning = 0

    def touch(self, leaf: str, item: int, kind: int, time: Millis, session_id: str) -> None:
        """Record that somebody touched an item. About 1 us; models know of it after :meth:`learn`."""
        self.log.append(leaf, item, kind, time, session_id)

    def with_signals(self) -> RankSignals:
        """What rankers read, from now on kept up to date; the first call learns the whole log."""
        if self.signals is None:
            self.signals = RankSignals()
            self.signals.fit(self.log.between(self.log.first, self._learnt))
        return self.signals

    def describe(self, numbers: Iterable[int]) -> None:
        """The catalogue says something new about these items."""
        self._undescribed.update(numbers)

    def learn_if_many(self) -> None:
        """:meth:`learn` when enough has gathered: the sources cost more per call than per touch."""
        if len(self.log) - self._learnt >= ENOUGH or len(self._undescribed) >= ENOUGH:
            self.learn()

    def learn(self) -> None:
        """Bring every source up to date. O(what is new)."""
        if len(self.log) > self._learnt:
            news = self.log.tail(self._learnt)
            self._learnt = len(self.log)
            for source in self._learners:
                source.update(news)
            if self.signals is not None:
                self.signals.update(news)
        self._learn_descriptions()

    def _learn_descriptions(self) -> None:
        if self._undescribed:
            numbers, self._undescribed = sorted(self._undescribed), set()
            texts = [self._catalog.text_of(number) for number in numbers]
            self.content.describe(numbers, texts)
            if self._meaning is not None:
                self._meaning.describe(numbers, texts)

    def begin(self) -> Callable[[CheckpointWriter], None]:
        """Freeze the log for a checkpoint that begins now; what is returned writes it, in any thread: chunks
        that are not stored yet or still grow, and the numbering of sessions."""
        held = set(self.log.chunks())
        frozen = self.log.freeze()
        newest = max(held, default=-1)
        fresh = sorted(held - self._stored_chunks | ({newest} & held))
        gone = self._stored_chunks - held
        self._stored_chunks = held - {newest}

        def write(writer: CheckpointWriter) -> None:
            writer.put_blob(STATE_BLOB, frozen.state())
            for number in fresh:
                writer.put_blob(CHUNK_BLOB.format(number), frozen.chunk(number))
            for number in gone:
                writer.drop_blob(CHUNK_BLOB.format(number))

        return write

    def end(self) -> Callable[[CheckpointWriter], None]:
        """Freeze what may not be older than the items of a checkpoint, which are all encoded now; what is
        returned writes it, in any thread."""
        self._learn_descriptions()
        frozen: list[tuple[str, Callable[[], bytes]]] = []
        if self.content.generation != self._stored_content:
            self._stored_content = self.content.generation
            frozen.append((CONTENT_BLOB, self.content.freeze()))
        if self._meaning is not None and self._meaning.generation != self._stored_meaning:
            self._stored_meaning = self._meaning.generation
            frozen.append((MEANING_BLOB, self._meaning.freeze()))

        def write(writer: CheckpointWriter) -> None:
            for name, encode in frozen:
                writer.put_blob(name, encode())

        return write

    def abandon(self) -> None:
        """The checkpoint was not kept: the next one writes everything again."""
        self._stored_chunks = set()
        self._stored_content = 0
        self._stored_meaning = 0

    def load(self, names: Iterable[str], read: Callable[[str], bytes]) -> None:
        """Take the log and the index of descriptions back from a checkpoint, and learn the rest from them."""
        known = set(names)
        if STATE_BLOB in known:
            self.log.load(read(STATE_BLOB), lambda number: read(CHUNK_BLOB.format(number)))
            held = list(self.log.chunks())
            self._stored_chunks = set(held[:-1])
        history = self.log.tail(self.log.first)
        for source in self._learners:
            source.fit(history)
        if self.signals is not None:
            self.signals.fit(history)
        self._learnt = len(self.log)
        if self._meaning is not None and MEANING_BLOB in known:
            self._meaning.restore(read(MEANING_BLOB))
        if CONTENT_BLOB in known and self.content.restore(read(CONTENT_BLOB), self._catalog.text_of):
            self._stored_content = self.content.generation
        else:
            self.describe(range(len(self._catalog)))
            self._learn_descriptions()
        if self._meaning is not None:
            everything = range(len(self._catalog))
            self._meaning.describe(everything, [self._catalog.text_of(number) for number in everything])
