"""A small cluster whose parts can be broken: brokers, Redis, the roles, a network and a disk of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.cluster.kafka import Kafka
from scripts.cluster.parts import Parts, free_port, listens
from scripts.cluster.postgres import PASSWORD, Postgres
from scripts.cluster.redis import Redis
from tests.faults.cluster_load import SECRET_KEY, WRITE_KEY

from opportune.streams.config import ClusterConfig, KafkaConfig, PostgresConfig, RedisConfig

ROLES = ("gateway", "decide", "fold", "identity")
DISK_MB = 96


class Network:
    """A network namespace for the fold worker, joined to everything else by one link that can be cut. Needs
    root and ``ip``; without them there is none, and nobody is cut off."""

    def __init__(self) -> None:
        number = os.getpid()
        self._name, self._link = f"opportune-{number}", f"op{number}"
        net = f"10.{77 + number % 100}.{number // 100 % 250}"
        self._here, self._there = f"{net}.1", f"{net}.2"
        self.is_there = False

    def up(self) -> None:
        name, link = self._name, self._link
        steps = [
            f"netns add {name}",
            f"link add {link} type veth peer name {link}n netns {name}",
            f"addr add {self._here}/30 dev {link}",
            f"link set {link} up",
            f"-n {name} addr add {self._there}/30 dev {link}n",
            f"-n {name} link set {link}n up",
            f"-n {name} link set lo up",
        ]
        try:
            for step in steps:
                _ip(step)
            self.is_there = True
        except (OSError, subprocess.CalledProcessError):
            self.down()

    def down(self) -> None:
        if shutil.which("ip") is not None:
            for step in (f"link del {self._link}", f"netns del {self._name}"):
                subprocess.run(["ip", *step.split()], capture_output=True, check=False)

    @property
    def host(self) -> str:
        """Where brokers and Redis listen."""
        return self._here if self.is_there else "127.0.0.1"

    @property
    def inside(self) -> list[str]:
        """What a command begins with to run in the namespace; it keeps its process id."""
        return ["ip", "netns", "exec", self._name] if self.is_there else []

    def cut(self, is_cut: bool) -> None:
        _ip(f"link set {self._link} {'down' if is_cut else 'up'}")


def _ip(step: str) -> None:
    subprocess.run(["ip", *step.split()], check=True, capture_output=True)


class Scene:
    def __init__(self, folder: Path, *, brokers: int = 3) -> None:
        self.folder = folder
        self.parts = Parts(folder / "servers")
        self.network = Network()
        self.ports = {role: free_port() for role in ROLES}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.happened: Counter[str] = Counter()
        self.brokers = brokers
        self.has_small_disk = False

    def up(self) -> ClusterConfig:
        self.network.up()
        self._small_disk()
        host = self.network.host
        kafka = Kafka(self.parts, brokers=self.brokers, host=host).up()
        url = Redis(self.parts, host=host).up()
        shared = Postgres(self.parts, host=host).up()
        (self.folder / "cluster.yaml").write_text(
            f"kafka: {{brokers: '{kafka}'}}\nredis: {{url: '{url}'}}\n"
            f"prefix: kills\npartitions: 4\ncopies: {self.brokers}\n"
            f"postgres: {{url: '{shared}', password_env: PG_PASSWORD}}\n"
        )
        os.environ["PG_PASSWORD"] = PASSWORD
        return ClusterConfig(
            KafkaConfig(kafka),
            RedisConfig(url, timeout_s=5.0),
            prefix="kills",
            partitions=4,
            copies=self.brokers,
            postgres=PostgresConfig(shared, "PG_PASSWORD"),
        )

    def start(self, role: str) -> None:
        command = [sys.executable, "-m", "opportune.cli", "serve", "--role", role]
        command += ["--cluster", str(self.folder / "cluster.yaml"), "--port", str(self.ports[role])]
        command += ["--data-dir", str(self.folder / role)]
        environment = {**os.environ, "OPPORTUNE_WRITE_KEY": WRITE_KEY, "OPPORTUNE_SECRET_KEY": SECRET_KEY}
        environment["PG_PASSWORD"] = PASSWORD
        inside = self.network.inside if role == "fold" else []
        with (self.folder / f"{role}.log").open("ab") as log:
            self.running[role] = subprocess.Popen(
                [*inside, *command],
                stdout=log,
                stderr=log,
                env=environment,
                # Where sessions share the processor, deciders have a share of their own.
                start_new_session=role == "decide",
            )

    def kill(self, role: str) -> None:
        process = self.running[role]
        process.kill()
        process.wait()
        self.start(role)

    def pause(self, role: str, seconds: float) -> None:
        self._paused([self.running[role].pid], seconds)

    def kill_part(self, name: str, then: Callable[[], None] = lambda: None) -> None:
        """SIGKILL one of the servers and start it again on the port that it had."""
        self.parts.stop(name, signal.SIGKILL)
        then()
        self.parts.again(name)

    def pause_part(self, name: str, seconds: float) -> None:
        """SIGSTOP one of the servers with the processes that it has started."""
        pid = self.parts.running()[name]["pid"]
        mine = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self._paused([pid, *map(int, mine)], seconds)

    def revive(self) -> None:
        """Start again what ended by itself, as whatever watches over the processes of a cluster does."""
        for role, process in list(self.running.items()):
            if process.poll() is not None:
                self.happened[f"{role} ended by itself"] += 1
                self.start(role)

    def wait(self, seconds: float) -> None:
        """Time passes; what ends is started again."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.revive()
            time.sleep(0.1)

    def wait_for_servers(self) -> None:
        for name, part in self.parts.running().items():
            node = int(name.rpartition("-")[2]) - 1 if name.startswith("kafka") else 0
            address = part["address"].split(",")[node].rpartition("//")[2].partition("/")[0]
            address = address.rpartition("@")[2]
            host, _, port = address.partition(":")
            while not listens(int(port), host):
                time.sleep(0.1)

    def down(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.parts.down()
        self.network.down()
        if self.has_small_disk:
            subprocess.run(["umount", str(self.folder / "fold")], check=False, capture_output=True)

    def _small_disk(self) -> None:
        """The fold worker's state lies on a disk of a few megabytes, where this user may mount one."""
        (self.folder / "fold").mkdir(parents=True, exist_ok=True)
        options = ["-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(self.folder / "fold")]
        try:
            subprocess.run(["mount", *options], check=True, capture_output=True)
            self.has_small_disk = True
        except (OSError, subprocess.CalledProcessError):
            self.has_small_disk = False

    def _paused(self, pids: Sequence[int], seconds: float) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            self.wait(seconds)
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
