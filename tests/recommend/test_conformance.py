"""Every candidate source that ships, held to the published laws."""

from __future__ import annotations

import numpy as np

from opportune.recommend.attributes import Attributes
from opportune.recommend.content import ContentSimilarity
from opportune.recommend.covisitation import CoVisitation, CoVisitationConfig
from opportune.recommend.meaning import ContentMeaning
from opportune.recommend.popular import MostBought, Popular, PopularInCategory, Trending
from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.session_knn_config import SessionKnnConfig
from opportune.recommend.source import CandidateSource
from opportune.testing.sources import CATEGORIES, ITEMS, SourceConformance

CATEGORY = (np.arange(ITEMS) % CATEGORIES).astype(np.int32)
ADJECTIVES = ("red", "blue", "tiny", "vintage", "paper")
NOUNS = ("cup", "lamp", "chair", "bag", "card", "clock", "plate")


class TestSessionKnn(SourceConformance):
    def make(self) -> CandidateSource:
        return SessionKnn(SessionKnnConfig(capacity_clicks=1 << 11, capacity_items=ITEMS))


class TestSessionKnnOfFewClicks(SourceConformance):
    """The index is full and forgets."""

    def make(self) -> CandidateSource:
        return SessionKnn(
            SessionKnnConfig(
                recent_sessions=8,
                neighbours=4,
                echo_sessions=8,
                echo_neighbours=4,
                capacity_clicks=1 << 7,
                capacity_items=ITEMS,
            )
        )


class TestCoVisitation(SourceConformance):
    def make(self) -> CandidateSource:
        return CoVisitation(CoVisitationConfig(capacity_items=ITEMS, capacity_sessions=1 << 10))


class TestPopular(SourceConformance):
    def make(self) -> CandidateSource:
        return Popular(capacity_items=ITEMS)


class TestPopularInShortList(SourceConformance):
    def make(self) -> CandidateSource:
        return Popular(capacity_items=ITEMS, listed=5)


class TestMostBought(SourceConformance):
    def make(self) -> CandidateSource:
        return MostBought(capacity_items=ITEMS)


class TestPopularInCategory(SourceConformance):
    def make(self) -> CandidateSource:
        return PopularInCategory(lambda: CATEGORY, capacity_items=ITEMS)


class TestAttributes(SourceConformance):
    def make(self) -> CandidateSource:
        columns = (
            CATEGORY,
            (np.arange(ITEMS) % 7).astype(np.int32),
            (np.arange(ITEMS) // 20).astype(np.int32),
        )
        return Attributes(lambda: columns, capacity_items=ITEMS)


class TestTrending(SourceConformance):
    def make(self) -> CandidateSource:
        return Trending(capacity_items=ITEMS)


class TestContentMeaning(SourceConformance):
    learns = False

    def make(self) -> CandidateSource:
        vectors = np.random.default_rng(1).normal(size=(ITEMS, 8)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        source = ContentMeaning(lambda texts: vectors[[int(text) for text in texts]], 8)
        source.describe(range(ITEMS), [str(n) for n in range(ITEMS)])
        return source


class TestContentSimilarity(SourceConformance):
    learns = False

    def make(self) -> CandidateSource:
        source = ContentSimilarity(capacity_items=ITEMS)
        texts = [f"{ADJECTIVES[n % 5]} {NOUNS[n % 7]} number {n}" for n in range(ITEMS)]
        source.describe(range(ITEMS), texts)
        return source
