"""Exposures: the first stands, whatever the order in which they are learnt of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from opportune.profiles.exposed import MAX_EXPERIMENTS, expose, flipped, merge_exposed, stands
from opportune.profiles.schema import ProfileSchema

SEEN = st.lists(
    st.tuples(st.sampled_from(["x", "y", "z"]), st.sampled_from(["a", "b", "c"]), st.integers(0, 9)),
    max_size=20,
)


def folded(seen):
    exposed = {}
    for key, arm, time in seen:
        expose(exposed, key, arm, time)
    return exposed


@given(SEEN, SEEN, SEEN)
def test_merging_is_folding_in_any_order(a, b, c):
    whole = folded([*a, *b, *c])
    assert merge_exposed(merge_exposed(folded(a), folded(b)), folded(c)) == whole
    assert merge_exposed(folded(c), merge_exposed(folded(b), folded(a))) == whole
    assert merge_exposed(whole, {}) == merge_exposed(whole, whole) == whole


def test_the_first_stands_and_a_flip_is_seen():
    exposed = folded(
        [("x", "b", 5), ("x", "a", 3), ("x", "b", 1), ("y", "a", 2), ("z", "b", 4), ("z", "a", 4)]
    )
    assert {key: stands(arms) for key, arms in exposed.items()} == {"x": "b", "y": "a", "z": "a"}
    assert sorted(flipped(exposed)) == ["x", "z"]


def test_experiments_kept_are_bounded_by_name():
    seen = [(f"e{i:04}", "a", i) for i in range(MAX_EXPERIMENTS + 50)]
    assert folded(seen) == folded(seen[::-1])
    assert len(folded(seen)) == MAX_EXPERIMENTS


def test_leaves_keep_and_combine_them():
    schema = ProfileSchema.default()
    one, two = schema.zero(), schema.zero()
    schema.fold_exposure(one, "x", "b", 7)
    schema.fold_exposure(two, "x", "a", 5)
    both = schema.combine([one, two])
    assert both.exposed == {"x": {"b": 7, "a": 5}}
    assert (one.exposed, two.exposed) == ({"x": {"b": 7}}, {"x": {"a": 5}})
    assert schema.decode(schema.encode(both)).exposed == both.exposed
