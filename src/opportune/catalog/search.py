"""Text search over the catalogue: an inverted index in memory, for a shop's search box."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from heapq import nsmallest

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.catalog.items import Catalog
from opportune.catalog.text import words

Items = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

MAX_QUERY_WORDS = 8
MAX_EXPANSIONS = 40
"""How many words a prefix stands for at most: the most frequent ones."""
_WORDS_PER_ITEM = 64
_K1 = 1.2
_B = 0.5
# A word that only begins like the one typed tells less than the word itself.
_PREFIX_WEIGHT = 0.6


class Found(msgspec.Struct, frozen=True):
    """Item numbers, best first, with their scores; ``total`` is how many matched."""

    items: Items
    score: Floats
    total: int


NOTHING = Found(np.zeros(0, np.int32), np.zeros(0, np.float32), 0)


class _Posting:
    """The items that have a word, and how heavily: parallel, in the order in which they were indexed."""

    __slots__ = ("items", "weights")

    def __init__(self) -> None:
        self.items = array("i")
        self.weights = array("f")

    def add(self, item: int, weight: float) -> None:
        self.items.append(item)
        self.weights.append(weight)

    def remove(self, item: int) -> None:
        at = self.items.index(item)
        last_item, last_weight = self.items.pop(), self.weights.pop()
        if at < len(self.items):
            self.items[at], self.weights[at] = last_item, last_weight


class SearchIndex:
    """BM25 (Robertson & Zaragoza, 2009; k1 1.2, b 0.5) over :meth:`Catalog.text_of`, words of the name twice.

    Words of the query match words of items and, at a lower weight, longer words that begin with them. Items
    that match the most words of the query are found, so that one unknown word does not empty the page.

    Follows the catalogue by itself: :meth:`search` takes in a few of the new and changed items first, so that
    it never waits for all of it to be indexed; :meth:`catch_up` indexes the rest in the background.
    """

    def __init__(self, catalog: Catalog, *, step: int = 200) -> None:
        self._catalog = catalog
        self._step = step
        self._postings: dict[str, _Posting] = {}
        self._words: list[str] = []
        self._unsorted: list[str] = []
        self._words_of: list[tuple[str, ...]] = []
        self._lengths = array("f")
        self._total_length = 0.0
        self._changed = catalog.follow()

    def __len__(self) -> int:
        """How many items are indexed."""
        return len(self._words_of)

    @property
    def behind(self) -> int:
        """How many items are waiting to be indexed."""
        indexed = len(self._words_of)
        return len(self._catalog) - indexed + sum(number < indexed for number in self._changed)

    def catch_up(self, limit: int | None = None) -> int:
        """Index up to ``limit`` waiting items; returns how many are still waiting."""
        left = self.behind if limit is None else limit
        indexed = len(self._words_of)
        while self._changed and left > 0:
            number = self._changed.pop()
            if number < indexed:
                self._put_again(number)
                left -= 1
        end = min(len(self._catalog), len(self._words_of) + left)
        for number in range(len(self._words_of), end):
            self._words_of.append(())
            self._lengths.append(0.0)
            self._put(number, self._read(number))
        return self.behind

    def search(self, query: str, count: int = 100, *, category: int = -1, available: bool = False) -> Found:
        """The items that match the most words of ``query``; ties go to the newer item.

        ``category`` keeps to one category number, ``available`` to what is in stock. An empty query, or one
        without words, finds nothing.
        """
        self.catch_up(self._step)
        typed = list(dict.fromkeys(words(query[:500])))[:MAX_QUERY_WORDS]
        if not typed or not self._words_of:
            return NOTHING
        n = len(self._words_of)
        score = np.zeros(n, dtype=np.float32)
        matched = np.zeros(n, dtype=np.int8)
        lengths = np.array(self._lengths, dtype=np.float32)
        for word in typed:
            part = self._word_score(word, lengths)
            score += part
            matched += part > 0
        most = int(matched.max())
        if most == 0:
            return NOTHING
        found = (matched == most).nonzero()[0]
        if category >= 0:
            found = found[self._catalog.category[found] == category]
        if available:
            found = found[self._catalog.available[found]]
        total = len(found)
        best = found[_best(score[found], found, count)]
        return Found(best.astype(np.int32), score[best], total)

    def _word_score(self, word: str, lengths: Floats) -> Floats:
        """What one word of the query gives each item: the best of the forms in which the item has it."""
        part = np.zeros(len(lengths), dtype=np.float32)
        for other in self._beginning_with(word):
            self._raise(part, self._postings[other], _PREFIX_WEIGHT, lengths)
        exact = self._postings.get(word)
        if exact is not None:
            self._raise(part, exact, 1.0, lengths)
        return part

    def _raise(self, part: Floats, posting: _Posting, weight: float, lengths: Floats) -> None:
        """Let the posting's items score at least what this word gives them."""
        items = np.array(posting.items, dtype=np.int32)
        frequency = np.array(posting.weights, dtype=np.float32)
        n, df = len(lengths), len(items)
        idf = math.log(1.0 + (n - df + 0.5) / (df + 0.5))
        relative = lengths[items] / np.float32(max(self._total_length / n, 1e-9))
        saturated = frequency * (_K1 + 1) / (frequency + _K1 * (1 - _B + _B * relative))
        part[items] = np.maximum(part[items], saturated * np.float32(weight * idf))

    def _beginning_with(self, prefix: str) -> list[str]:
        """The most frequent longer words with this beginning. O(log words + matches)."""
        if len(prefix) < 2:
            return []
        if self._unsorted:
            self._words = sorted([*self._words, *self._unsorted])
            self._unsorted.clear()
        start = bisect_left(self._words, prefix + "\0")
        end = bisect_left(self._words, prefix + "\U0010ffff")
        if end - start <= MAX_EXPANSIONS:
            return self._words[start:end]
        postings = self._postings
        return nsmallest(
            MAX_EXPANSIONS, self._words[start:end], key=lambda word: (-len(postings[word].items), word)
        )

    def _put_again(self, number: int) -> None:
        new = self._read(number)
        if tuple(new) == self._words_of[number]:
            return
        for word in dict.fromkeys(self._words_of[number]):
            self._postings[word].remove(number)
        self._total_length -= self._lengths[number]
        self._put(number, new)

    def _read(self, number: int) -> list[str]:
        name = words(self._catalog.name(number))
        return (name + words(self._catalog.text_of(number)))[:_WORDS_PER_ITEM]

    def _put(self, number: int, found: list[str]) -> None:
        self._words_of[number] = tuple(found)
        self._lengths[number] = len(found)
        self._total_length += len(found)
        counts: dict[str, int] = {}
        for word in found:
            counts[word] = counts.get(word, 0) + 1
        for word, count in counts.items():
            posting = self._postings.get(word)
            if posting is None:
                posting = self._postings[word] = _Posting()
                self._unsorted.append(word)
            posting.add(number, count)


def _best(score: Floats, number: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.intp]:
    """Positions of the ``count`` best, best first, ties to the larger number. O(n + count log count).

    Score and number make one whole number to sort by: the bits of positive floats are in their order.
    """
    key = (score.view(np.int32).astype(np.int64) << 32) | number
    if len(key) > count:
        top = np.argpartition(key, len(key) - count)[len(key) - count :]
        return top[np.argsort(-key[top])]
    return np.argsort(-key)
