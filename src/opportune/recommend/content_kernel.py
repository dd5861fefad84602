"""An inverted index in flat arrays: one arena of (word, item) nodes, linked per word, newest first."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.kernels import kernel
from opportune.recommend.by_address import (
    Addresses,
    doubles_at,
    float_rows_at,
    int_rows_at,
    ints_at,
    longs_at,
)
from opportune.recommend.slots import slot_of
from opportune.recommend.top import select_top

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Table = npt.NDArray[np.float64]

MAX_TERMS = 32
"""Words of one item that count."""
MAX_ITEMS = 3
"""Items of a query that are asked: the open one and the newest of the session."""
READ_PER_ITEM = 160
"""Nodes read for one of them, its rarest words first; of one word at most 150."""
READ_PER_WORD = 80
STEP_DECAY = 0.8
LIKES = 80
"""Most similar items that are remembered of an item."""

START, LENGTH = 0, 1
HEAD = 0
WORD, ITEM, OLDER = 0, 1, 2
NODES, ITEMS, LIVE, GENERATION = 0, 1, 2, 3


class Words(NamedTuple):
    """``node`` (capacity, 3): word, item, 1 + the older node of the word; ``item`` (capacity_items, 2):
    where its nodes start and how many; ``word`` (vocabulary, 2): 1 + its newest node, how many items have
    it; ``state``: nodes used, items described, nodes that are live, how often words changed. A node outside
    its item's range is of an older description."""

    node: Ints
    item: Ints
    word: Ints
    state: npt.NDArray[np.int64]


class ContentScratch(NamedTuple):
    slot_of_item: Ints
    item: Ints
    score: Table
    loudest: Table
    spoke: Ints
    chosen: Ints


class Likes(NamedTuple):
    """Remembered answers, one item a row: 1 + the item, the generation of the words when it was read, how
    many items it is like, which (rows, 80), and how much. People in one session ask for the same items again
    and again, and descriptions change seldom."""

    of_item: Ints
    made_at: npt.NDArray[np.int64]
    size: Ints
    near: Ints
    like: Floats


@kernel
def add_items(words: Words, numbers: Ints, ends: npt.NDArray[np.int64], terms: Ints) -> None:
    """Replace the words of items, ``terms[ends[k - 1]:ends[k]]`` for the k-th. O(words); the arena must have
    room for them."""
    node, item, word, state = words
    state[GENERATION] += 1
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
def read_words(words: Words, scratch: ContentScratch, asked: int, near: Ints, like: Floats) -> int:
    """Write the items most like ``asked``, best first, as many as ``near`` holds; returns how many.

    Reads at most 160 nodes, rarest words first: about 20 us.
    """
    node, items, word, state = words
    slot_of_item, item, score, _, _, chosen = scratch
    start, n_terms = items[asked, START], items[asked, LENGTH]
    terms = np.empty(MAX_TERMS, np.int32)
    for at in range(n_terms):  # insertion sort, rarest word first
        term = node[start + at, WORD]
        hole = at
        while hole > 0 and word[terms[hole - 1], LENGTH] > word[term, LENGTH]:
            terms[hole] = terms[hole - 1]
            hole -= 1
        terms[hole] = term
    touched = 0
    left = READ_PER_ITEM
    for at in range(n_terms):
        term = terms[at]
        rarity = math.log(1.0 + state[ITEMS] / word[term, LENGTH])
        part = rarity * rarity / math.sqrt(n_terms)
        link = word[term, HEAD]
        here = min(left, READ_PER_WORD)
        while link > 0 and here > 0:
            n = link - 1
            link = node[n, OLDER]
            here -= 1
            left -= 1
            i = node[n, ITEM]
            if i == asked or n < items[i, START] or n >= items[i, START] + items[i, LENGTH]:
                continue
            t = slot_of(slot_of_item, item, touched, i)
            if t == touched:
                touched += 1
                score[t] = 0.0
            score[t] += part / math.sqrt(items[i, LENGTH])
    found = select_top(score, item, touched, chosen[: len(near)])
    for rank in range(found):
        near[rank] = item[chosen[rank]]
        like[rank] = score[chosen[rank]]
    return found


@kernel
def ask_words(
    words: Words,
    scratch: ContentScratch,
    likes: Likes,
    query: Ints,
    open_item: int,
    out_item: Ints,
    out_score: Floats,
    out_because: Ints,
) -> int:
    """Write the items most like the open item (first) and the newest of the session, the asked ones left out;
    returns how many. ``because`` is -1 for the open item when it is not in the session."""
    items, generation = words.item, words.state[GENERATION]
    slot_of_item, item, score, loudest, spoke, chosen = scratch
    of_item, made_at, size, near, like = likes
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

    row_of = np.empty(MAX_ITEMS, np.int32)
    for j in range(q):
        row_of[j] = _row_of(likes, asked[j], generation, row_of[:j])
        row = row_of[j]
        if of_item[row] != asked[j] + 1 or made_at[row] != generation:
            size[row] = read_words(words, scratch, asked[j], near[row], like[row])
            of_item[row] = asked[j] + 1
            made_at[row] = generation
    touched = 0
    for j in range(q):
        row = row_of[j]
        speaker = asked[j] if asked[j] != open_item or open_in_session else -1
        for at in range(size[row]):
            i = near[row, at]
            part = like[row, at] * STEP_DECAY**j
            t = slot_of(slot_of_item, item, touched, i)
            if t == touched:
                touched += 1
                score[t] = 0.0
                loudest[t] = -1.0
            score[t] += part
            if part > loudest[t]:
                loudest[t] = part
                spoke[t] = speaker
    for j in range(q):
        t = slot_of_item[asked[j]]
        if t < touched and item[t] == asked[j]:
            score[t] = 0.0
    found = select_top(score, item, touched, chosen[: len(out_item)])
    for rank in range(found):
        t = chosen[rank]
        out_item[rank] = item[t]
        out_score[rank] = score[t]
        out_because[rank] = spoke[t]
    return found


@kernel
def _row_of(likes: Likes, asked: int, generation: int, taken: Ints) -> int:
    """The row where an item's likes are remembered, or where they may be: one of three next to each other
    that this question does not need."""
    mask = len(likes.size) - 1
    free = -1
    for step in range(MAX_ITEMS):
        row = (asked + step) & mask
        if likes.of_item[row] == asked + 1 and likes.made_at[row] == generation:
            return row
        needed = False
        for other in taken:
            if other == row:
                needed = True
        if not needed and free < 0:
            free = row
    return free


@kernel
def ask_likes(table: Addresses, query: Ints, open_item: int, count: int, answer: Ints) -> int:
    """:func:`ask_words` with everything but the question behind ``table``: words, scratch, likes. Answers
    into ``answer`` (3, at least ``count``)."""
    words = Words(int_rows_at(table, 0), int_rows_at(table, 1), int_rows_at(table, 2), longs_at(table, 3))
    scratch = ContentScratch(
        ints_at(table, 4), ints_at(table, 5), doubles_at(table, 6), doubles_at(table, 7), ints_at(table, 8),
        ints_at(table, 9),
    )  # fmt: skip
    likes = Likes(
        ints_at(table, 10), longs_at(table, 11), ints_at(table, 12), int_rows_at(table, 13),
        float_rows_at(table, 14),
    )  # fmt: skip
    return ask_words(
        words, scratch, likes, query, open_item,
        answer[0, :count], answer[1, :count].view(np.float32), answer[2, :count],
    )  # fmt: skip
