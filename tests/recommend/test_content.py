"""Content similarity: shared rare words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opportune.recommend.content import ContentSimilarity
from opportune.testing.sources import query

TEXTS = ["red tea cup", "blue tea cup", "red lamp", "wooden chair", "oak chair", "", "red tea cup"]


def described(texts: list[str] = TEXTS, **knobs: int) -> ContentSimilarity:
    source = ContentSimilarity(capacity_items=64, **knobs)
    source.describe(range(len(texts)), texts)
    return source


def rarity(items: int, having: int) -> float:
    return math.log(1 + items / having)


def test_the_score_is_the_squared_rarity_of_shared_words() -> None:
    answer = described().recommend(query(3))
    assert answer.item.tolist() == [4]
    assert answer.score.tolist() == pytest.approx([rarity(6, 2) ** 2 / math.sqrt(2 * 2)])
    assert answer.because.tolist() == [3]


def test_every_score_agrees_with_the_sums_over_shared_words() -> None:
    rng = np.random.default_rng(5)
    vocabulary = [f"word{n}" for n in range(30)]
    bags = [list(dict.fromkeys(rng.choice(vocabulary, rng.integers(1, 9)).tolist())) for _ in range(50)]
    source = described([" ".join(bag) for bag in bags])
    having = {word: sum(word in bag for bag in bags) for word in vocabulary}
    for session in ([3], [4, 9], [1, 2, 3]):
        expected: dict[int, float] = {}
        for step, asked in enumerate(reversed(session)):
            for other, bag in enumerate(bags):
                shared = sum(rarity(50, having[word]) ** 2 for word in bags[asked] if word in bag)
                if shared and other not in session:
                    part = 0.8**step * shared / math.sqrt(len(bags[asked]) * len(bag))
                    expected[other] = expected.get(other, 0.0) + part
        answer = source.recommend(query(*session, count=100))
        assert dict(zip(answer.item.tolist(), answer.score.tolist(), strict=True)) == pytest.approx(expected)


def test_the_open_item_is_asked_first_and_is_no_reason_unless_touched() -> None:
    source = described()
    answer = source.recommend(query(3, item=2))
    assert dict(zip(answer.item.tolist(), answer.because.tolist(), strict=True)) == {0: -1, 6: -1, 4: 3}


def test_a_new_description_replaces_the_old_one() -> None:
    source = described()
    source.describe([4], ["blue tea cup"])
    assert source.recommend(query(3)).item.tolist() == []
    assert 4 in source.recommend(query(1)).item
    source.describe([4], [""])
    assert 4 not in source.recommend(query(1)).item
    assert (
        source.recommend(query(0)).item.tolist()
        == described([*TEXTS[:4], "", *TEXTS[5:]]).recommend(query(0)).item.tolist()
    )


def test_describing_again_and_again_does_not_grow() -> None:
    source = described()
    for turn in range(3000):
        source.describe([1], [f"blue tea cup edition {turn % 7}"])
    source.describe([1], [TEXTS[1]])
    assert len(source._words.node) == 1 << 12
    expected = described().recommend(query(0))
    answer = source.recommend(query(0))
    assert sorted(answer.item.tolist()) == sorted(expected.item.tolist())
    assert answer.score.tolist() == pytest.approx(expected.score.tolist())


def test_many_descriptions_make_room() -> None:
    texts = [f"same{n // 2} word{n % 8} thing{n}" for n in range(3000)]
    source = ContentSimilarity(capacity_items=4000)
    source.describe(range(3000), texts)
    assert source.recommend(query(101)).item.tolist()[0] == 100


def test_numbers_outside_the_table_are_ignored() -> None:
    source = described()
    source.describe([-1, 64], ["wooden chair", "wooden chair"])
    assert source.recommend(query(3)).item.tolist() == [4]


def test_of_a_long_text_only_the_beginning_counts() -> None:
    source = described()
    source.describe([5], ["wooden " + "x " * 10_000 + "oak"])
    assert set(source.recommend(query(3)).item.tolist()) == {4, 5}
    assert source.recommend(query(4)).item.tolist() == [3]
    source.describe([5], [" ".join(f"w{n}" for n in range(33))])
    source.describe([2], ["w32"])
    assert source.recommend(query(5)).item.tolist() == []


def test_the_last_description_in_a_batch_stands() -> None:
    source = described()
    source.describe([3, 3], ["something else", TEXTS[3]])
    assert source.recommend(query(3)).item.tolist() == [4]


def frozen_and_restored(texts: list[str], now: list[str]) -> tuple[bool, ContentSimilarity]:
    source = ContentSimilarity(capacity_items=64)
    return source.restore(described(texts).freeze()(), lambda number: now[number]), source


def test_a_frozen_index_answers_the_same_and_goes_on_learning() -> None:
    before = described()
    before.describe([3], ["oak table"])
    texts = [*TEXTS[:3], "oak table", *TEXTS[4:]]
    same = ContentSimilarity(capacity_items=64)
    assert same.restore(before.freeze()(), lambda number: texts[number])
    assert same.generation == before.generation
    for source in (before, same):
        source.describe([7, 5], ["oak tea table", "lamp oil"])
    for number in range(8):
        expected, found = before.recommend(query(number)), same.recommend(query(number))
        assert found.item.tolist() == expected.item.tolist()
        assert found.score.tolist() == expected.score.tolist()


def test_an_empty_index_is_restored() -> None:
    restored, source = frozen_and_restored([], [])
    assert restored
    source.describe([0, 1], ["oak chair", "oak table"])
    assert source.recommend(query(0)).item.tolist() == [1]


def test_an_index_of_other_texts_or_words_is_not_taken() -> None:
    restored, source = frozen_and_restored(TEXTS, ["red tea mug", *TEXTS[1:]])
    assert not restored
    assert source.generation == 0
    assert source.recommend(query(0)).item.tolist() == []
