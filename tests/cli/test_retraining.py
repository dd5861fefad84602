"""Training in a process of its own, again and again."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Opportune

from opportune.cli.retraining import propose_command, retrain_forever, run_quietly, train_command
from opportune.cli.training import seconds_of
from opportune.errors import InvalidRequest


def test_the_command_is_one_that_a_person_could_type() -> None:
    made = train_command(Path("d"), Path("w"), "home_recs", 0.2, promote=True)
    assert made[0] == sys.executable
    assert made[3:] == [
        "train", "--data-dir", "d", "--json", "--model", "ranker", "--placement", "home_recs",
        "--threads", "1", "--workspace", "w", "--if-drift", "0.2", "--promote",
    ]  # fmt: skip


def test_it_waits_trains_and_waits_again() -> None:
    ran: list[list[str]] = []

    async def go() -> None:
        enough = asyncio.Event()

        async def run(command: list[str]) -> int:
            ran.append(command)
            if len(ran) == 3:
                enough.set()
            return len(ran) % 2  # a failed training does not end it

        task = asyncio.create_task(retrain_forever(["train"], 0.001, run))
        await asyncio.wait_for(enough.wait(), 30)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(go())
    assert ran[:3] == [["train"]] * 3


def test_what_a_failed_training_said_is_logged(
    data: Path, opportune: Opportune, caplog: pytest.LogCaptureFixture
) -> None:
    command = train_command(data, None, "home_recs", None, promote=False)
    with caplog.at_level(logging.WARNING, "opportune.models"):
        assert asyncio.run(run_quietly(command)) == 1
    assert "too little history" in caplog.text


def test_looking_for_likely_people_says_what_it_lacks(
    data: Path, opportune: Opportune, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "opportune.models"):
        assert asyncio.run(run_quietly(propose_command(data, None))) == 1
    assert "identity ended with 1: " in caplog.text
    assert "run 'opportune identity train' first" in " ".join(caplog.text.split())


def test_spans_of_time() -> None:
    assert seconds_of("12h", "--x") == 12 * 3600
    with pytest.raises(InvalidRequest, match="not a span of time, saw 'often', at --x: write 30m, 12h or 1d"):
        seconds_of("often", "--x")
