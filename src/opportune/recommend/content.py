"""Content similarity: items described with the same rare words, as a candidate source for items nobody
knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.catalog.text import words
from opportune.recommend.by_address import ByAddress
from opportune.recommend.columns import newest_of_session
from opportune.recommend.content_kernel import (
    GENERATION,
    HEAD,
    LENGTH,
    LIKES,
    LIVE,
    MAX_ITEMS,
    MAX_TERMS,
    NODES,
    READ_PER_ITEM,
    START,
    ContentScratch,
    Likes,
    Words,
    add_items,
    ask_likes,
    move_nodes,
)
from opportune.recommend.pages import lazy_zeros
from opportune.recommend.slate import answered
from opportune.recommend.source import Candidates, Interactions, Items, Query

_FIRST_NODES = 1 << 12
MAX_VOCABULARY = 1 << 20
MAX_TEXT = 2000
"""Characters of a description that are read."""
_LAYOUT = "content-1"
_SAMPLE = 64
MOST_STALE = 256
"""Nodes of replaced descriptions that are put up with, beside a quarter of the live ones."""


class ContentSimilarity:
    """An inverted index of the words of items, asked with the newest items of the session and the open item.

    Similarity of two items is the sum of the squared rarity (``log(1 + items / items with the word)``) of the
    words that they share, divided by the square root of the product of their numbers of words: the cosine of
    the vector space model (Salton & Buckley, Information Processing & Management 1988) for words that occur
    or do not, with lengths that do not know rarity, so that nothing is computed again as words become common.
    An item counts
    at most its first 32 distinct words; the vocabulary at most 1,048,576 words, later ones are not indexed.
    Learns from the catalogue alone: ``describe`` is O(words) an item, about 8 us. ``recommend`` takes 10 us,
    and 20 more for each item that was not asked since the last description that changed; ``remembered`` (a
    power of two, at least 4) items' answers are kept, 660 bytes each.
    """

    name = "content"
    reason = "similar"

    def __init__(self, *, capacity_items: int = 1 << 22, remembered: int = 1 << 14) -> None:
        self._capacity_items = capacity_items
        self._vocabulary: dict[str, int] = {}
        self._described = 0  # 1 + the largest number described
        self._words = Words(
            node=np.zeros((_FIRST_NODES, 3), np.int32),
            item=lazy_zeros((capacity_items, 2), np.int32),
            word=lazy_zeros((MAX_VOCABULARY, 2), np.int32),
            state=np.zeros(4, np.int64),
        )
        touched = MAX_ITEMS * READ_PER_ITEM
        self._scratch = ContentScratch(
            slot_of_item=lazy_zeros(capacity_items, np.int32),
            item=np.zeros(touched, np.int32),
            score=np.zeros(touched),
            loudest=np.zeros(touched),
            spoke=np.zeros(touched, np.int32),
            chosen=np.zeros(touched, np.int32),
        )
        self._likes = Likes(
            of_item=lazy_zeros(remembered, np.int32),
            made_at=lazy_zeros(remembered, np.int64),
            size=lazy_zeros(remembered, np.int32),
            near=lazy_zeros((remembered, LIKES), np.int32),
            like=lazy_zeros((remembered, LIKES), np.float32),
        )
        self._find_addresses()

    def _find_addresses(self) -> None:
        self._by_address = ByAddress((*self._words, *self._scratch, *self._likes))

    def describe(self, numbers: Sequence[int], texts: Sequence[str]) -> None:
        """The words of these items are now these; an empty text withdraws an item."""
        changed: list[int] = []
        ends: list[int] = []
        terms: list[int] = []
        for number, text in dict(zip(numbers, texts, strict=True)).items():
            if not 0 <= number < self._capacity_items:
                continue
            found = self._terms(text)
            if number < self._described and found == self._terms_of(number):
                continue
            changed.append(number)
            terms += found
            ends.append(len(terms))
        if not changed:
            return
        used, live = int(self._words.state[NODES]), int(self._words.state[LIVE])
        if used + len(terms) > len(self._words.node) or used - live > live // 4 + MOST_STALE:
            self._compact(live + len(terms))
        add_items(
            self._words, np.array(changed, np.int32), np.array(ends, np.int64), np.array(terms, np.int32)
        )
        self._described = max(self._described, max(changed) + 1)

    @property
    def generation(self) -> int:
        """How often descriptions changed; what :meth:`freeze` gives is the same while it stands."""
        return int(self._words.state[GENERATION])

    def freeze(self) -> Callable[[], bytes]:
        """The index as of now; what is returned encodes it, in any thread. Copies 120 bytes an item."""
        node, item, word, state = self._words
        known = len(self._vocabulary)
        arrays: list[npt.NDArray[Any]] = [node[: state[NODES]], item[: self._described], word[:known], state]
        copies = [array.tobytes() for array in arrays]
        terms = list(self._vocabulary)
        return lambda: msgspec.msgpack.encode([_LAYOUT, "\n".join(terms), *copies])

    def restore(self, frozen: bytes, sample: Callable[[int], str]) -> bool:
        """Take an index back into an empty one, if it was made as we would make it now: ``sample`` is the
        text of an item, asked of 64 of them. 10 ms for 40,000 items where describing them takes 800."""
        layout, terms, *parts = msgspec.msgpack.decode(frozen)
        if layout != _LAYOUT:
            return False
        vocabulary = {term: number for number, term in enumerate(terms.split("\n"))} if terms else {}
        node, item, word = (
            np.frombuffer(p, np.int32).reshape(-1, n) for p, n in zip(parts, (3, 2, 2), strict=False)
        )
        for number in range(0, len(item), max(1, len(item) // _SAMPLE)):
            start, length = item[number].tolist()
            made = dict.fromkeys(words(sample(number)[:MAX_TEXT]))
            known = [vocabulary[term] for term in made if term in vocabulary]
            if known[:MAX_TERMS] != node[start : start + length, 0].tolist():
                return False
        room = np.zeros((max(_FIRST_NODES, 1 << (2 * len(node)).bit_length()), 3), np.int32)
        room[: len(node)] = node
        self._words.item[: len(item)] = item
        self._words.word[: len(word)] = word
        self._words.state[:] = np.frombuffer(parts[3], np.int64)
        self._words = self._words._replace(node=room)
        self._vocabulary, self._described = vocabulary, len(item)
        self._find_addresses()
        return True

    def _terms(self, text: str) -> list[int]:
        """The numbers of a text's first 32 distinct words; new words get the next number."""
        vocabulary = self._vocabulary
        found: list[int] = []
        for word in dict.fromkeys(words(text[:MAX_TEXT])):
            term = vocabulary.get(word)
            if term is None:
                if len(vocabulary) == MAX_VOCABULARY:
                    continue
                term = vocabulary[word] = len(vocabulary)
            found.append(term)
            if len(found) == MAX_TERMS:
                break
        return found

    def _terms_of(self, number: int) -> list[int]:
        start, length = self._words.item[number].tolist()
        terms: list[int] = self._words.node[start : start + length, 0].tolist()
        return terms

    def _compact(self, expected: int) -> None:
        """Drop the nodes of descriptions that were replaced, in an arena with room for twice ``expected``.
        About 10 ns a node."""
        old = self._words
        described = np.flatnonzero(old.item[: self._described, LENGTH]).astype(np.int32)
        described = described[np.argsort(old.item[described, START], kind="stable")]
        room = max(len(old.node), 1 << (2 * expected).bit_length())
        self._words = old._replace(node=np.zeros((room, 3), np.int32))
        self._find_addresses()
        old.word[:, HEAD] = 0
        move_nodes(old, self._words, described)

    def fit(self, interactions: Interactions) -> None:
        """Nothing to learn from touches."""

    def update(self, interactions: Interactions) -> None:
        """Nothing to learn from touches."""

    def recommend(self, query: Query) -> Candidates:
        return answered(self, query)

    def recommend_into(self, query: Query, answer: Items) -> int:
        count = min(int(query.count), answer.shape[1], len(self._scratch.chosen))
        return ask_likes(self._by_address.table, newest_of_session(query), int(query.item), count, answer)
