"""Content similarity: items described with the same rare words, as a candidate source for items nobody
knows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from opportune.catalog.text import words
from opportune.recommend.columns import newest_of_session
from opportune.recommend.content_kernel import (
    HEAD,
    LENGTH,
    LIVE,
    MAX_ITEMS,
    MAX_TERMS,
    NODES,
    READ_PER_ITEM,
    START,
    ContentScratch,
    Words,
    add_item,
    ask_words,
    move_nodes,
)
from opportune.recommend.source import Candidates, Interactions, Query

_FIRST_NODES = 1 << 12
MAX_VOCABULARY = 1 << 20
MOST_STALE = 256
"""Nodes of replaced descriptions that are put up with, beside a quarter of the live ones."""


class ContentSimilarity:
    """An inverted index of the words of items, asked with the newest items of the session and the open item.

    Similarity of two items is the sum of the squared rarity (``log(1 + items / items with the word)``) of the
    words that they share, divided by the square root of the product of their numbers of words. An item counts
    at most its first 32 distinct words; the vocabulary at most 1,048,576 words, later ones are not indexed.
    Learns from the catalogue alone: ``describe`` is O(words) an item, about 8 us; ``recommend`` about 40 us.
    """

    name = "content"
    reason = "similar"

    def __init__(self, *, capacity_items: int = 1 << 22) -> None:
        self._capacity_items = capacity_items
        self._vocabulary: dict[str, int] = {}
        self._words = Words(
            node=np.zeros((_FIRST_NODES, 3), np.int32),
            item=np.zeros((capacity_items, 2), np.int32),
            word=np.zeros((MAX_VOCABULARY, 2), np.int32),
            state=np.zeros(3, np.int64),
        )
        touched = MAX_ITEMS * READ_PER_ITEM
        self._scratch = ContentScratch(
            slot_of_item=np.zeros(capacity_items, np.int32),
            item=np.zeros(touched, np.int32),
            score=np.zeros(touched),
            share=np.zeros((touched, MAX_ITEMS)),
            chosen=np.zeros(1000, np.int32),
        )

    def describe(self, numbers: Sequence[int], texts: Sequence[str]) -> None:
        """The words of these items are now these; an empty text withdraws an item."""
        for number, text in zip(numbers, texts, strict=True):
            if 0 <= number < self._capacity_items:
                self._describe(number, text)

    def _describe(self, number: int, text: str) -> None:
        vocabulary = self._vocabulary
        found: list[int] = []
        for word in dict.fromkeys(words(text)):
            term = vocabulary.get(word)
            if term is None:
                if len(vocabulary) == MAX_VOCABULARY:
                    continue
                term = vocabulary[word] = len(vocabulary)
            found.append(term)
            if len(found) == MAX_TERMS:
                break
        index = self._words
        start, length = index.item[number].tolist()
        if index.node[start : start + length, 0].tolist() == found:
            return
        used, live = int(index.state[NODES]), int(index.state[LIVE])
        if used + len(found) > len(index.node) or used - live > live // 4 + MOST_STALE:
            self._compact(live)
        add_item(self._words, number, np.array(found, np.int32))

    def _compact(self, live: int) -> None:
        """Drop the nodes of descriptions that were replaced, in an arena at most half full. About 10 ns a
        node."""
        index = self._words
        described = np.flatnonzero(index.item[:, LENGTH]).astype(np.int32)
        described = described[np.argsort(index.item[described, START], kind="stable")]
        room = max(len(index.node), 1 << (2 * live + MAX_TERMS).bit_length())
        self._words = index._replace(node=np.zeros((room, 3), np.int32))
        index.word[:, HEAD] = 0
        move_nodes(index, self._words, described)

    def fit(self, interactions: Interactions) -> None:
        """Nothing to learn from touches."""

    def update(self, interactions: Interactions) -> None:
        """Nothing to learn from touches."""

    def recommend(self, query: Query) -> Candidates:
        count = min(query.count, len(self._scratch.chosen))
        item = np.empty(count, np.int32)
        score = np.empty(count, np.float32)
        because = np.empty(count, np.int32)
        found = ask_words(
            self._words, self._scratch, newest_of_session(query), query.item, item, score, because
        )
        return Candidates(item[:found], score[:found], because[:found])
