"""Work that is done again and again in a process of its own, so that serving is not touched: training, and
looking for people who are likely one."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

log = logging.getLogger("opportune.models")

_CHILD = "import os; os.nice(15); from opportune.cli import main; main()"


def train_command(
    data_dir: Path,
    workspace: Path | None,
    placement: str,
    drift: float | None,
    *,
    promote: bool,
    kind: str = "ranker",
) -> list[str]:
    """The command of one training, at the lowest priority."""
    found = [sys.executable, "-c", _CHILD, "train", "--data-dir", str(data_dir), "--json"]
    found += ["--model", kind, "--placement", placement, "--threads", "1"]
    if workspace is not None:
        found += ["--workspace", str(workspace)]
    if drift is not None:
        found += ["--if-drift", str(drift)]
    if promote:
        found.append("--promote")
    return found


def propose_command(data_dir: Path, workspace: Path | None) -> list[str]:
    """The command that looks for people who are likely one, at the lowest priority."""
    found = [sys.executable, "-c", _CHILD, "identity", "propose", "--data-dir", str(data_dir), "--json"]
    return found if workspace is None else [*found, "--workspace", str(workspace)]


async def run_quietly(command: list[str]) -> int:
    """Run it to its end; log what it said when it failed. When this is cancelled, so is it."""
    import asyncio

    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL, stderr=pipe)
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    code = process.returncode or 0
    if code:
        told = said.decode("utf-8", "replace").strip()[-500:]
        log.warning("%s ended with %d: %s", command[3], code, told)
    else:
        log.info("%s: done again", command[3])
    return code


async def retrain_forever(
    command: list[str], every_s: float, run: Callable[[list[str]], Awaitable[int]] = run_quietly
) -> None:
    """Wait, run, wait again; a run that fails is logged, and the next one comes."""
    import asyncio

    while True:
        await asyncio.sleep(every_s)
        await run(command)
