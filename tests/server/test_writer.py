"""Group commit, without HTTP: who is answered when, and what happens when the disk refuses."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from opportune.errors import FlushFailed, Overloaded, StorageError
from opportune.server.metrics import Metrics
from opportune.server.writer import NUDGE_S, PROBE_EVERY, GroupWriter

Scenario = Callable[[GroupWriter], Awaitable[None]]


def run(engine: Any, scenario: Scenario, **options: Any) -> GroupWriter:
    writer = GroupWriter(engine, Metrics(), **{"reopen_every_s": 0.02, **options})

    async def main() -> None:
        await writer.start()
        try:
            async with asyncio.timeout(5):
                await scenario(writer)
        finally:
            await writer.stop()

    uvloop.run(main())
    return writer


def post(writer: GroupWriter, *items: bytes) -> Awaitable[Any]:
    return writer.ingest(
        items or (b'{"type":"track"}',), kind=None, dialect="segment", source="s", received=1
    )


@pytest.fixture
def threads(engine: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of the thread of every flush, in order."""
    names: list[str] = []
    flush = engine.flush

    def seen() -> None:
        names.append(threading.current_thread().name)
        flush()

    monkeypatch.setattr(engine, "flush", seen)
    return names


def test_everything_posted_in_one_turn_shares_a_flush(engine: Any) -> None:
    async def scenario(writer: GroupWriter) -> None:
        receipts = await asyncio.gather(*(post(writer) for _ in range(50)))
        assert [receipt.stored for receipt in receipts] == [1] * 50
        assert engine.flushes == 1

    run(engine, scenario)
    assert len(engine.applied) == 50


def test_records_that_nobody_waits_for_are_flushed_beside_the_loop(engine: Any, threads: list[str]) -> None:
    async def scenario(writer: GroupWriter) -> None:
        writer._usual_flush_s = 0.0  # as quick as a disk can be
        await post(writer)
        assert threads == [threading.current_thread().name]
        writer.nudge()
        while len(threads) < 2:
            await asyncio.sleep(0.005)
        assert threads[1] == "opportune-flush"

    run(engine, scenario)


def test_a_post_that_cannot_be_admitted_fails_alone(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    admit = engine.admit

    def stumbling(items: Any, **about: Any) -> Any:
        if b"stumble" in bytes(items[0]):
            raise ZeroDivisionError("in the door")
        return admit(items, **about)

    monkeypatch.setattr(engine, "admit", stumbling)

    async def scenario(writer: GroupWriter) -> None:
        first, second, third = (
            post(writer, body) for body in (b'{"type":"track"}', b"stumble", b'{"type":"page"}')
        )
        told = await asyncio.gather(first, second, third, return_exceptions=True)
        assert [told[0].stored, told[2].stored] == [1, 1]
        assert isinstance(told[1], ZeroDivisionError)
        assert writer.queued == 0
        assert writer.healthy
        assert (await post(writer)).stored == 1

    run(engine, scenario)
    assert len(engine.applied) == 3


def test_a_post_does_not_wait_for_company(engine: Any) -> None:
    async def scenario(writer: GroupWriter) -> None:
        for _ in range(20):
            begun = len(engine.groups)
            waiting = asyncio.ensure_future(post(writer))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(engine.groups) == begun + 1
            await waiting

    run(engine, scenario)


def test_while_decisions_are_made_posts_are_flushed_beside_the_loop(
    engine: Any, threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opportune.server.writer.DECIDING_S", 0.3)  # whatever else the machine does meanwhile

    async def scenario(writer: GroupWriter) -> None:
        writer._usual_flush_s = 0.0  # as quick as a disk can be
        writer.nudge()
        await post(writer)
        assert threads == ["opportune-flush"]
        await asyncio.sleep(0.35)
        await post(writer)
        assert threads == ["opportune-flush", threading.current_thread().name]

    run(engine, scenario)


@pytest.mark.parametrize(("deciding", "pieces"), [(False, [16, 4]), (True, [4, 4, 4, 4, 4])])
def test_while_decisions_are_made_posts_are_folded_in_small_pieces(
    engine: Any, monkeypatch: pytest.MonkeyPatch, deciding: bool, pieces: list[int]
) -> None:
    monkeypatch.setattr("opportune.server.writer.DECIDING_S", 5.0)  # whatever else the machine does meanwhile
    folded: list[int] = []
    apply = engine.apply

    def seen(admissions: Any) -> None:
        folded.append(len(admissions))
        apply(admissions)

    monkeypatch.setattr(engine, "apply", seen)

    async def scenario(writer: GroupWriter) -> None:
        if deciding:
            writer.nudge()
        await asyncio.gather(*(post(writer) for _ in range(20)))
        assert folded == pieces

    run(engine, scenario)


def test_a_record_made_during_a_flush_waits_for_its_own_time(engine: Any) -> None:
    engine.flush_delay_s = 0.03

    async def scenario(writer: GroupWriter) -> None:
        waiting = asyncio.ensure_future(post(writer))
        await asyncio.sleep(0.01)
        writer.nudge()
        await waiting
        assert not writer._flushing
        assert engine.flushes == 1
        await asyncio.sleep(NUDGE_S + 0.06)
        assert engine.flushes == 2

    run(engine, scenario)


def test_a_record_whose_time_comes_during_a_flush_is_flushed_after_it(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opportune.server.writer.NUDGE_S", 0.005)
    engine.flush_delay_s = 0.1

    async def scenario(writer: GroupWriter) -> None:
        waiting = asyncio.ensure_future(post(writer))
        await asyncio.sleep(0.01)
        writer.nudge()
        await waiting
        assert engine.flushes == 1
        await asyncio.sleep(0.2)
        assert engine.flushes == 2

    run(engine, scenario)


def test_what_arrives_during_a_flush_forms_the_next_group(engine: Any) -> None:
    engine.flush_delay_s = 0.05

    async def scenario(writer: GroupWriter) -> None:
        first = asyncio.ensure_future(post(writer))
        await asyncio.sleep(0.02)
        rest = [asyncio.ensure_future(post(writer)) for _ in range(30)]
        assert not first.done()
        await first
        assert len(engine.applied) == 1
        assert not any(one.done() for one in rest)
        await asyncio.gather(*rest)
        assert engine.flushes == 2

    run(engine, scenario)
    assert len(engine.applied) == 31


def test_nothing_is_acknowledged_or_folded_before_its_flush(engine: Any) -> None:
    engine.flush_delay_s = 0.05

    async def scenario(writer: GroupWriter) -> None:
        one = asyncio.ensure_future(post(writer))
        await asyncio.sleep(0.02)
        assert (one.done(), engine.applied, writer.queued) == (False, [], 1)
        await one
        assert (len(engine.applied), writer.queued) == (1, 0)

    run(engine, scenario)


def test_a_large_batch_leaves_room_for_others(engine: Any) -> None:
    async def scenario(writer: GroupWriter) -> None:
        items = [b'{"type":"track","messageId":"m%d"}' % number for number in range(1_000)]
        large = asyncio.ensure_future(post(writer, *items))
        await asyncio.sleep(0)
        small = await post(writer)
        receipt = await large
        assert (small.stored, receipt.stored, receipt.received) == (1, 1_000, 1_000)

    run(engine, scenario)
    sizes = [len(admitted["items"]) for admitted in engine.admitted]
    assert sizes[0] == 128
    assert 1 in sizes[1:4], "the single post waited for the whole batch"
    assert sum(sizes) == 1_001


def test_a_full_queue_refuses_before_admitting(engine: Any) -> None:
    engine.flush_delay_s = 0.05

    async def scenario(writer: GroupWriter) -> None:
        waiting = [asyncio.ensure_future(post(writer)) for _ in range(10)]
        await asyncio.sleep(0.01)
        with pytest.raises(
            Overloaded, match="10 events are waiting to be written: retry after 1 s"
        ) as refused:
            await post(writer)
        assert refused.value.retry_after_s == 1
        assert len(engine.admitted) == 10
        await asyncio.gather(*waiting)
        await post(writer)

    run(engine, scenario, queue_limit=10)
    assert len(engine.applied) == 11


def test_posts_are_refused_when_the_oldest_has_waited_too_long(engine: Any) -> None:
    engine.flush_delay_s = 0.2

    async def scenario(writer: GroupWriter) -> None:
        first = asyncio.ensure_future(post(writer))
        await asyncio.sleep(0.01)
        second = asyncio.ensure_future(post(writer))
        await asyncio.sleep(0.1)
        with pytest.raises(Overloaded, match="2 events are waiting to be written"):
            await post(writer)
        await asyncio.gather(first, second)
        await post(writer)

    run(engine, scenario, queue_s=0.08)
    assert len(engine.applied) == 3


def test_a_quick_disk_is_flushed_without_the_thread(engine: Any, threads: list[str]) -> None:
    async def scenario(writer: GroupWriter) -> None:
        for _ in range(4 * PROBE_EVERY):
            await post(writer)
        assert threads[0] == "opportune-flush"
        assert threads[-1] != "opportune-flush"
        engine.flush_delay_s = 0.01
        for _ in range(4):
            await post(writer)
        assert threads[-1] == "opportune-flush"

    run(engine, scenario)


def test_a_batch_larger_than_the_queue_is_taken_when_it_is_empty(engine: Any) -> None:
    async def scenario(writer: GroupWriter) -> None:
        receipt = await post(writer, *[b'{"type":"track"}'] * 50)
        assert receipt.received == 50

    run(engine, scenario, queue_limit=10)


@pytest.mark.parametrize("error", [FlushFailed("the disk refused"), OSError(28, "No space left on device")])
def test_a_failed_flush_fails_everybody_and_stops_the_door_until_reopened(
    engine: Any, error: Exception, caplog: Any
) -> None:
    async def scenario(writer: GroupWriter) -> None:
        engine.flush_delay_s = 0.03
        engine.flush_error = error
        first = asyncio.ensure_future(post(writer))
        await asyncio.sleep(0.01)
        second = asyncio.ensure_future(post(writer))
        for one in (first, second):
            with pytest.raises(StorageError, match="the journal cannot be written"):
                await one
        assert not writer.healthy
        assert writer.queued == 0
        before = len(engine.admitted)
        with pytest.raises(StorageError):
            await post(writer)
        assert len(engine.admitted) == before
        engine.flush_error = None
        while not writer.healthy:
            await asyncio.sleep(0.01)
        await post(writer)

    run(engine, scenario)
    assert engine.reopened == 1
    assert len(engine.applied) == 1
    assert "refusing posts until reopened" in caplog.text
    assert "accepting posts" in caplog.text


def test_reopening_is_tried_until_it_works(engine: Any, caplog: Any) -> None:
    async def scenario(writer: GroupWriter) -> None:
        engine.flush_error = FlushFailed("the disk refused")
        with pytest.raises(StorageError):
            await post(writer)
        await asyncio.sleep(0.1)
        assert not writer.healthy
        engine.flush_error = None
        while not writer.healthy:
            await asyncio.sleep(0.01)

    run(engine, scenario)
    assert engine.reopened == 1
    assert caplog.text.count("cannot reopen the journal yet") >= 2


def test_an_error_while_folding_stops_the_door(engine: Any, caplog: Any) -> None:
    async def scenario(writer: GroupWriter) -> None:
        engine.apply_error = ValueError("a bug")
        with pytest.raises(StorageError, match=r"folding failed \(a bug\)"):
            await post(writer)
        assert not writer.healthy

    run(engine, scenario, reopen_every_s=60)
    assert "restart rebuilds state from the journal" in caplog.text


def test_stopping_finishes_what_was_admitted(engine: Any) -> None:
    engine.flush_delay_s = 0.05

    async def scenario(writer: GroupWriter) -> None:
        waiting = asyncio.ensure_future(post(writer))
        await asyncio.sleep(0.01)
        await writer.stop()
        assert (await waiting).stored == 1
        with pytest.raises(StorageError, match="the server is shutting down"):
            await post(writer)

    run(engine, scenario)
    assert len(engine.applied) == 1


def test_decision_records_are_flushed_soon_without_anybody_waiting(engine: Any) -> None:
    async def scenario(writer: GroupWriter) -> None:
        writer.nudge()
        writer.nudge()
        await asyncio.sleep(0)
        assert engine.flushes == 0
        await asyncio.sleep(NUDGE_S + 0.05)
        assert engine.flushes == 1

    run(engine, scenario)


def test_a_nudge_rides_along_with_a_post(engine: Any) -> None:
    async def scenario(writer: GroupWriter) -> None:
        writer.nudge()
        await post(writer)
        await asyncio.sleep(NUDGE_S + 0.05)
        assert engine.flushes == 1

    run(engine, scenario)
    assert engine.flushes == 2, "stopping flushes once more, for records that nobody waits for"


def test_maintenance_runs_in_slices_while_there_is_more(engine: Any) -> None:
    budgets: list[float] = []

    def maintain(budget_s: float) -> bool:
        budgets.append(budget_s)
        return len(budgets) < 5

    engine.maintain = maintain
    try:

        async def scenario(writer: GroupWriter) -> None:
            await asyncio.sleep(0.12)

        run(engine, scenario)
    finally:
        del engine.maintain
    assert len(budgets) >= 5
    assert set(budgets) == {0.0003}


def test_a_client_that_gives_up_does_not_disturb_its_group(engine: Any) -> None:
    engine.flush_delay_s = 0.03

    async def scenario(writer: GroupWriter) -> None:
        gone = asyncio.ensure_future(post(writer))
        stays = asyncio.ensure_future(post(writer))
        await asyncio.sleep(0.01)
        gone.cancel()
        assert (await stays).stored == 1

    run(engine, scenario)
    assert len(engine.applied) == 2


def test_retry_after_grows_with_the_backlog_and_stays_below_300(engine: Any) -> None:
    async def scenario(writer: GroupWriter) -> None:
        writer._queued = 5_000
        with pytest.raises(Overloaded, match="retry after 5 s"):  # 5,000 / the assumed 1,000 a second
            await post(writer)
        writer._queued = 10_000_000
        with pytest.raises(Overloaded, match="retry after 300 s"):
            await post(writer)
        writer._queued = 0

    run(engine, scenario, queue_limit=100)


def test_the_loop_is_not_held_by_a_slow_disk(engine: Any) -> None:
    engine.flush_delay_s = 0.1

    async def scenario(writer: GroupWriter) -> None:
        waiting = asyncio.ensure_future(post(writer))
        await asyncio.sleep(0.005)
        started = time.perf_counter()
        await asyncio.sleep(0.001)
        assert time.perf_counter() - started < 0.05
        await waiting

    run(engine, scenario)
