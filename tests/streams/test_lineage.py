"""Who may fold a partition that has been folded before."""

from __future__ import annotations

import msgspec
import pytest

from opportune.identity.survivorship import Survivorship
from opportune.profiles.definitions import Feature
from opportune.profiles.schema import ProfileSchema
from opportune.streams.lineage import FoldVersion, Replaced, read, takes_over, written
from opportune.streams.marks import FORMAT

VIEWS = Feature(name="views", fold="count", event="product_viewed", windows=("1h", "7d"))
CARTS = Feature(name="carts", fold="count", event="product_added", windows=("7d",))
OLD, NEW = (FoldVersion.of(ProfileSchema(features)) for features in ([VIEWS], [VIEWS, CARTS]))


def test_the_first_takes_a_partition_and_keeps_it() -> None:
    assert takes_over([], OLD)
    assert not takes_over([OLD], msgspec.structs.replace(OLD, since=7))


def test_what_is_new_takes_over_and_what_is_old_does_not_get_it_back() -> None:
    assert takes_over([OLD], NEW)
    with pytest.raises(
        Replaced, match=r"newer version \(definitions .*, codec \d+\) than this worker's .* restore their"
    ):
        takes_over([OLD, NEW], OLD)


def test_a_higher_generation_goes_back_and_the_lower_one_is_refused_then() -> None:
    again = msgspec.structs.replace(OLD, generation=1)
    assert takes_over([OLD, NEW], again)
    with pytest.raises(Replaced, match="generation 1"):
        takes_over([OLD, NEW, again], NEW)
    assert not takes_over([OLD, NEW, again], OLD), "it folds alike, so nothing is lost"


def test_older_code_is_old_whether_it_was_seen_or_not() -> None:
    with pytest.raises(Replaced, match="than this worker's"):
        takes_over([NEW], msgspec.structs.replace(OLD, code=OLD.code - 1))


def test_links_are_folded_alike_whatever_the_definitions_say() -> None:
    assert not takes_over([FoldVersion.of_links()], FoldVersion.of_links(3))


def test_windows_and_rules_of_traits_are_part_of_the_definitions() -> None:
    wider = ProfileSchema([msgspec.structs.replace(VIEWS, windows=("1h", "30d"))])
    ruled = ProfileSchema([VIEWS])
    ruled.survivorship = {"email": Survivorship("longest")}
    versions = [OLD, FoldVersion.of(wider), FoldVersion.of(ruled)]
    assert len({version.definitions for version in versions}) == 3
    assert len({version.layout for version in versions}) == 1


def test_features_of_sessions_are_part_of_the_definitions() -> None:
    person = ProfileSchema([VIEWS])
    sessions = [ProfileSchema(features, "session") for features in ([], [VIEWS], [VIEWS, CARTS])]
    versions = [FoldVersion.of(person, session=session) for session in sessions]
    assert len({version.definitions for version in versions}) == 3


def test_what_is_written_is_read_and_the_newest_are_kept() -> None:
    assert read(None) == []
    versions = [msgspec.structs.replace(OLD, since=since) for since in range(40)]
    record = written(versions)
    assert record.startswith(FORMAT)
    assert read(record) == versions[8:]
