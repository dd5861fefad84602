"""Long work of the engine on a loop that has others to serve: :mod:`opportune.engine.turns`, driven."""

from __future__ import annotations

import asyncio

from opportune.engine.turns import Turns


async def in_turns(turns: Turns) -> None:
    """One turn at a time, with everybody else in between; what needs no engine runs in a thread."""
    for elsewhere in turns:
        if elsewhere is None:
            await asyncio.sleep(0)
        else:
            await asyncio.to_thread(elsewhere)
