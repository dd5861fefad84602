from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opportune.errors import Corrupt
from opportune.stores.journal import Journal
from opportune.stores.records import RecordStore
from opportune.stores.recovery import canonical, check_agreement, fingerprint
from opportune.testing.disk import MemoryDisk

STATE = st.dictionaries(st.binary(max_size=3), st.binary(max_size=5), max_size=5)


def opened(entries: int, offset: int, highest: int) -> tuple[Journal, RecordStore]:
    disk = MemoryDisk()
    journal, store = Journal.open(disk, segment_bytes=1), RecordStore.open(disk)
    for _ in range(entries):
        journal.append([b"x"])
        journal.flush()
    writer = store.begin()
    writer.commit(offset, {}, highest_offset=highest)
    return journal, store


def test_a_checkpoint_as_old_as_the_journal_agrees() -> None:
    check_agreement(*opened(9, 1, 0))
    check_agreement(*opened(9, 10, 9))
    check_agreement(*opened(0, 1, 0))


@pytest.mark.parametrize(("offset", "highest"), [(11, 10), (5, 10)])
def test_a_checkpoint_newer_than_the_journal_is_refused(offset: int, highest: int) -> None:
    with pytest.raises(Corrupt) as caught:
        check_agreement(*opened(9, offset, highest), where="data")
    assert str(caught.value) == (
        "the checkpoint has seen journal seq 10, but the journal ends at 9: it lost its tail, at data: "
        "restore a backup, or remove the folder 'state' to go on with what the journal holds"
    )


def test_a_checkpoint_older_than_the_journal_is_refused() -> None:
    journal, store = opened(9, 3, 2)
    journal.archive(5)
    with pytest.raises(
        Corrupt, match="the checkpoint ends before journal seq 3, but the journal begins with 5"
    ):
        check_agreement(journal, store)


@given(STATE, STATE)
def test_states_are_equal_exactly_when_their_canonical_forms_are(
    a: dict[bytes, bytes], b: dict[bytes, bytes]
) -> None:
    assert (canonical(a.items()) == canonical(b.items())) == (a == b)
    assert canonical(a.items()) == canonical(reversed(a.items()))


def test_the_canonical_form() -> None:
    assert canonical([("b", b"2"), (b"a", b"")]) == b"1:a=0:\n1:b=1:2\n"
    assert fingerprint([("a", b"1")]) == sha256(b"1:a=1:1\n").hexdigest()
