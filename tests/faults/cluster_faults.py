"""The kinds of trouble that a cluster is put through, by name; each leaves it whole again."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
from collections.abc import Callable

from tests.faults.cluster_scene import Scene

PAUSED_S = 10.0
EXPIRES_S = 14.0
"""Longer than a transaction may stay open (``workers.UNFINISHED_MS``): the coordinator aborts it."""

Fault = Callable[[Scene, random.Random], None]


def _kill(role: str) -> Fault:
    return lambda scene, draw: scene.kill(role)


def _pause(role: str, seconds: float = PAUSED_S) -> Fault:
    return lambda scene, draw: scene.pause(role, seconds)


def kill_broker(scene: Scene, draw: random.Random) -> None:
    scene.kill_part(f"kafka-{draw.randrange(scene.brokers) + 1}")
    scene.wait_for_servers()


def pause_broker(scene: Scene, draw: random.Random) -> None:
    scene.pause_part(f"kafka-{draw.randrange(scene.brokers) + 1}", PAUSED_S)


def kill_redis(scene: Scene, draw: random.Random) -> None:
    scene.kill_part("redis", lambda: scene.wait(draw.uniform(0, 4)))
    scene.wait_for_servers()


def pause_redis(scene: Scene, draw: random.Random) -> None:
    scene.pause_part("redis", PAUSED_S)


def lose_redis(scene: Scene, draw: random.Random) -> None:
    """Killed, its disk lost, an empty one in its place; filled again by the command, everything going on."""

    def lost() -> None:
        shutil.rmtree(scene.folder / "servers" / "redis")
        (scene.folder / "servers" / "redis").mkdir()
        scene.wait(draw.uniform(0, 2))

    scene.kill_part("redis", lost)
    scene.wait_for_servers()
    command = ["cluster", "rebuild", "--cluster", str(scene.folder / "cluster.yaml"), "--json"]
    subprocess.run(
        [sys.executable, "-m", "opportune.cli", *command], check=True, timeout=120, capture_output=True
    )


def kill_postgres(scene: Scene, draw: random.Random) -> None:
    scene.kill_part("postgres", lambda: scene.wait(draw.uniform(1, 5)))
    scene.wait_for_servers()


def pause_postgres(scene: Scene, draw: random.Random) -> None:
    scene.pause_part("postgres", PAUSED_S)


def full_disk(scene: Scene, draw: random.Random) -> None:
    """No byte is left where the fold worker keeps its state, for some seconds."""
    filler = scene.folder / "fold" / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as out:
        while True:
            out.write(bytes(4096))
    scene.wait(draw.uniform(4, 10))
    filler.unlink()


def cut_network(scene: Scene, draw: random.Random) -> None:
    """The fold worker reaches neither a broker nor Redis, for less or more than its session lasts."""
    scene.network.cut(True)
    try:
        scene.wait(draw.uniform(2, 12))
    finally:
        scene.network.cut(False)


FAULTS: dict[str, Fault] = {
    "SIGKILL gateway": _kill("gateway"),
    "SIGKILL fold": _kill("fold"),
    "SIGKILL identity": _kill("identity"),
    "SIGSTOP gateway": _pause("gateway"),
    "SIGSTOP fold": _pause("fold"),
    "SIGSTOP identity": _pause("identity"),
    "transaction of fold expired": _pause("fold", EXPIRES_S),
    "SIGKILL a broker of three": kill_broker,
    "SIGSTOP a broker of three": pause_broker,
    "SIGKILL redis": kill_redis,
    "SIGSTOP redis": pause_redis,
    "redis lost and rebuilt": lose_redis,
    "SIGKILL postgres": kill_postgres,
    "SIGSTOP postgres": pause_postgres,
    "full disk of fold": full_disk,
    "network of fold cut": cut_network,
}
WEIGHTS = {"SIGKILL fold": 3, "SIGKILL gateway": 2}


def possible(scene: Scene) -> tuple[list[str], list[str]]:
    """The kinds that this machine lets happen, and those that it does not."""
    missing = []
    if not scene.network.is_there:
        missing.append("network of fold cut")
    if not scene.has_small_disk:
        missing.append("full disk of fold")
    return [kind for kind in FAULTS if kind not in missing], missing


def drawn(kinds: list[str], rounds: int, draw: random.Random) -> list[str]:
    """Every kind comes once before any comes by chance alone."""
    first = draw.sample(kinds, len(kinds))[:rounds]
    rest = draw.choices(kinds, [WEIGHTS.get(kind, 1) for kind in kinds], k=rounds - len(first))
    return [*first, *rest]
