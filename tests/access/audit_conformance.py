"""What every audit log does: the file of one machine, and the table of a cluster."""

from __future__ import annotations

from opportune.access.audit import NOTHING_BEFORE
from opportune.access.audit import AuditLog as FileAudit
from opportune.access.shared_audit import SharedAudit

Log = FileAudit | SharedAudit


class Ticks:
    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        self.now += 1
        return self.now


def noted(log: Log) -> None:
    log.note("secret key", "profile.read", ["user_id:u1"])
    log.note(
        "user:ada", "identity.merge", ["user_id:u1", "anonymous_id:a1"], changed=True, why="asked by phone"
    )
    log.note("key:3f2a", "decision.read", decision_id="d1 ü \x00 %s")


class AuditConformance:
    """Inherit, and give a fixture ``log``: an empty one."""

    def test_entries_follow_each_other(self, log: Log) -> None:
        noted(log)
        first, second, third = log.entries()
        assert [one.n for one in (first, second, third)] == [1, 2, 3]
        assert first.time < second.time < third.time
        assert (first.before, second.before, third.before) == (NOTHING_BEFORE, first.hash, second.hash)
        assert second.what == {"why": "asked by phone"}
        assert third.what == {"decision_id": "d1 ü \x00 %s"}
        assert (log.verify().entries, log.verify().head, log.verify().broken_at) == (3, third.hash, 0)

    def test_an_empty_log_holds(self, log: Log) -> None:
        found = log.verify()
        assert (found.entries, found.head, found.broken_at) == (0, NOTHING_BEFORE, 0)
        assert log.newest() == []

    def test_entries_about_somebody_are_found(self, log: Log) -> None:
        noted(log)
        assert [one.did for one in log.newest(about="user_id:u1")] == ["identity.merge", "profile.read"]
        assert [one.did for one in log.newest(about="anonymous_id:a1")] == ["identity.merge"]
        assert log.newest(about="user_id:nobody") == []
        assert [one.n for one in log.newest(limit=2)] == [3, 2]
        assert [one.n for one in log.newest(did="identity.")] == [2]

    def test_people_have_pseudonyms_that_stay(self, log: Log) -> None:
        noted(log)
        first, second, _ = log.entries()
        assert first.about == (log.pseudonym("user_id:u1"),)
        assert second.about[0] == first.about[0] != second.about[1]
        assert all(len(name) == 16 and "u1" not in name for name in second.about)
