"""Apache Kafka itself (KRaft): the jars from Maven Central, one broker or three on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts.cluster.parts import Parts, free_port, listens, needed

POM = Path(__file__).with_name("pom.xml")
CLUSTER_ID = "b3Bwb3J0dW5lLWxvY2FsMA"
JAVA = ("-Xms128m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class Kafka:
    """Brokers that are controllers as well; data and logs under the parts' folder. Clients reach them at
    ``host``."""

    def __init__(
        self, parts: Parts, *, brokers: int = 1, jars: Path | None = None, host: str = "127.0.0.1"
    ) -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        self._parts = parts
        self._brokers = brokers
        self._host = host
        self._jars = jars or cache / "opportune" / "kafka"

    def up(self) -> str:
        """Start what does not run yet; the bootstrap addresses."""
        java = needed(
            "java", "install a Java 17 or newer runtime (Debian: apt-get install default-jre-headless)"
        )
        self._fetch()
        running = self._parts.running()
        if "kafka-1" in running:
            return str(running["kafka-1"]["address"])
        ports = {node: (free_port(), free_port()) for node in range(1, self._brokers + 1)}
        voters = ",".join(f"{node}@127.0.0.1:{controller}" for node, (_, controller) in ports.items())
        address = ",".join(f"{self._host}:{broker}" for broker, _ in ports.values())
        for node, (broker, controller) in ports.items():
            self._start(java, node, broker, controller, voters, address)
        for node, (broker, _) in ports.items():
            self._parts.wait(f"kafka-{node}", lambda port=broker: listens(port, self._host))  # type: ignore[misc]  # binds now
        return address

    def _start(self, java: str, node: int, broker: int, controller: int, voters: str, address: str) -> None:
        data = self._parts.folder / f"kafka-{node}"
        data.mkdir(parents=True, exist_ok=True)
        copies = 3 if self._brokers == 3 else 1
        settings = {
            "process.roles": "broker,controller",
            "node.id": node,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://{self._host}:{broker},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self._host}:{broker}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": data / "log",
            "default.replication.factor": copies,
            "min.insync.replicas": max(1, copies - 1),
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": max(1, copies - 1),
            "transaction.state.log.num.partitions": 4,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
            "group.initial.rebalance.delay.ms": 0,
            "auto.create.topics.enable": "false",
        }
        file = data / "server.properties"
        file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        classes = [java, *JAVA, "-cp", f"{self._jars}/*"]
        if not (data / "log" / "meta.properties").exists():
            subprocess.run(
                [*classes, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(file)],
                check=True,
                capture_output=True,
            )
        self._parts.start(f"kafka-{node}", [*classes, "kafka.Kafka", str(file)], address)

    def _fetch(self) -> None:
        if (self._jars / ".complete").exists():
            return
        maven = needed("mvn", "install Apache Maven (Debian: apt-get install maven)")
        print("fetching Apache Kafka from Maven Central ...", file=sys.stderr)
        subprocess.run(
            [
                *(maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"),
                *("-DincludeScope=runtime", f"-DoutputDirectory={self._jars}"),
            ],
            check=True,
            stdout=sys.stderr,
        )
        (self._jars / ".complete").touch()
