"""An inverted index in flat arrays: one arena of (word, item) nodes, linked per word, newest first."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.kernels import kernel
from opportune.recommend.top import select_top

Ints = npt.NDArray[np.int32]
Table = npt.NDArray[np.float64]

MAX_TERMS = 32
"""Words of one item that count."""
MAX_ITEMS = 3
"""Items of a query that are asked: the open one and the newest of the session."""
READ_PER_ITEM = 160
"""Nodes read for one of them, its rarest words first; of one word at most 150."""
READ_PER_WORD = 80
STEP_DECAY = 0.8

START, LENGTH = 0, 1
HEAD = 0
WORD, ITEM, OLDER = 0, 1, 2
NODES, ITEMS, LIVE = 0, 1, 2


class Words(NamedTuple):
    """``node`` (capacity, 3): word, item, 1 + the older node of the word; ``item`` (capacity_items, 2):
    where its nodes start and how many; ``word`` (vocabulary, 2): 1 + its newest node, how many items have
    it; ``state``: nodes used, items described, nodes that are live. A node outside its item's range is of
    an older description."""

    node: Ints
    item: Ints
    word: Ints
    state: npt.NDArray[np.int64]


class ContentScratch(NamedTuple):
    slot_of_item: Ints
    item: Ints
    score: Table
    share: Table
    chosen: Ints


@kernel
def add_items(words: Words, numbers: Ints, ends: npt.NDArray[np.int64], terms: Ints) -> None:
    """Replace the words of items, ``terms[ends[k - 1]:ends[k]]`` for the k-th. O(words); the arena must have
    room for them."""
    node, item, word, state = words
    first = 0
    for k in range(len(numbers)):
        number = numbers[k]
        for n in range(item[number, START], item[number, START] + item[number, LENGTH]):
            word[node[n, WORD], LENGTH] -= 1
        state[LIVE] -= item[number, LENGTH]
        if item[number, LENGTH] > 0:
            state[ITEMS] -= 1
        start = state[NODES]
        length = ends[k] - first
        for at in range(length):
            term = terms[first + at]
            node[start + at, WORD] = term
            node[start + at, ITEM] = number
            node[start + at, OLDER] = word[term, HEAD]
            word[term, HEAD] = start + at + 1
            word[term, LENGTH] += 1
        item[number, START] = start
        item[number, LENGTH] = length
        state[NODES] = start + length
        state[LIVE] += length
        if length > 0:
            state[ITEMS] += 1
        first = ends[k]


@kernel
def move_nodes(old: Words, new: Words, numbers: Ints) -> None:
    """Copy the live nodes of these items into an empty arena; ``new`` shares all else with ``old``."""
    node, item, word, state = new
    used = 0
    for at in range(len(numbers)):
        number = numbers[at]
        start = item[number, START]
        item[number, START] = used
        for n in range(start, start + item[number, LENGTH]):
            term = old.node[n, WORD]
            node[used, WORD] = term
            node[used, ITEM] = number
            node[used, OLDER] = word[term, HEAD]
            word[term, HEAD] = used + 1
            used += 1
    state[NODES] = used


@kernel
def ask_words(
    words: Words,
    scratch: ContentScratch,
    query: Ints,
    open_item: int,
    out_item: Ints,
    out_score: npt.NDArray[np.float32],
    out_because: Ints,
) -> int:
    """Write the items most like the open item (first) and the newest of the session, the asked ones left out;
    returns how many. ``because`` is -1 for the open item when it is not in the session."""
    node, items, word, state = words
    slot_of_item, item, score, share, chosen = scratch
    asked = np.empty(MAX_ITEMS, np.int32)
    q = 0
    open_in_session = False
    if 0 <= open_item < len(items):
        asked[0] = open_item
        q = 1
    for back in range(len(query)):
        i = query[len(query) - 1 - back]
        if i == open_item:
            open_in_session = True
        if q == MAX_ITEMS or i < 0 or i >= len(items):
            continue
        repeated = False
        for j in range(q):
            if asked[j] == i:
                repeated = True
        if not repeated:
            asked[q] = i
            q += 1

    touched = 0
    terms = np.empty(MAX_TERMS, np.int32)
    for j in range(q):
        a = asked[j]
        start, n_terms = items[a, START], items[a, LENGTH]
        for at in range(n_terms):  # insertion sort, rarest word first
            term = node[start + at, WORD]
            hole = at
            while hole > 0 and word[terms[hole - 1], LENGTH] > word[term, LENGTH]:
                terms[hole] = terms[hole - 1]
                hole -= 1
            terms[hole] = term
        left = READ_PER_ITEM
        for at in range(n_terms):
            term = terms[at]
            rarity = math.log(1.0 + state[ITEMS] / word[term, LENGTH])
            part = rarity * rarity * STEP_DECAY**j / math.sqrt(n_terms)
            link = word[term, HEAD]
            here = min(left, READ_PER_WORD)
            while link > 0 and here > 0:
                n = link - 1
                link = node[n, OLDER]
                here -= 1
                left -= 1
                i = node[n, ITEM]
                if n < items[i, START] or n >= items[i, START] + items[i, LENGTH]:
                    continue
                t = slot_of_item[i]
                if t >= touched or item[t] != i:
                    t = touched
                    touched += 1
                    slot_of_item[i] = t
                    item[t] = i
                    score[t] = 0.0
                    share[t, :] = 0.0
                gain = part / math.sqrt(items[i, LENGTH])
                score[t] += gain
                share[t, j] += gain
    for j in range(q):
        t = slot_of_item[asked[j]]
        if t < touched and item[t] == asked[j]:
            score[t] = 0.0
    found = select_top(score, item, touched, chosen[: len(out_item)])
    for rank in range(found):
        t = chosen[rank]
        out_item[rank] = item[t]
        out_score[rank] = score[t]
        loudest = 0
        for j in range(1, q):
            if share[t, j] > share[t, loudest]:
                loudest = j
        spoke = asked[loudest]
        out_because[rank] = spoke if spoke != open_item or open_in_session else -1
    return found
