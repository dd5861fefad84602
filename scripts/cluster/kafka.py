"""Apache Kafka itself (KRaft): the jars from Maven Central, one broker or three on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.cluster.parts import Parts, free_port, listens, needed

POM = Path(__file__).with_name("pom.xml")
CLUSTER_ID = "b3Bwb3J0dW5lLWxvY2FsMA"
JAVA = ("-Xms128m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


@dataclass(frozen=True)
class Secured:
    """``key_and_certificate`` is a PEM file of both."""

    key_and_certificate: Path
    user: str
    password: str

    @property
    def scram(self) -> str:
        return f"SCRAM-SHA-512=[name={self.user},password={self.password}]"


class Kafka:
    """Brokers that are controllers as well; data and logs under the parts' folder. Clients reach them at
    ``host``. With ``secured``, clients come through TLS with a name and a password and may do what access
    lists say; brokers among themselves, and whoever sets the lists, use :attr:`inside`."""

    def __init__(
        self,
        parts: Parts,
        *,
        brokers: int = 1,
        jars: Path | None = None,
        host: str = "127.0.0.1",
        secured: Secured | None = None,
    ) -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        self._parts = parts
        self._brokers = brokers
        self._host = host
        self._secured = secured
        self.inside = ""
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
        if self._secured is not None:
            settings |= self._closed(broker, controller)
        file = data / "server.properties"
        file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        classes = [java, *JAVA, "-cp", f"{self._jars}/*"]
        if not (data / "log" / "meta.properties").exists():
            subprocess.run(
                [
                    *(*classes, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(file)),
                    *(() if self._secured is None else ("--add-scram", self._secured.scram)),
                ],
                check=True,
                capture_output=True,
            )
        self._parts.start(f"kafka-{node}", [*classes, "kafka.Kafka", str(file)], address)

    def _closed(self, broker: int, controller: int) -> dict[str, object]:
        assert self._secured is not None
        inside = free_port()
        self.inside = f"127.0.0.1:{inside}"
        listeners = {"CLIENTS": f"{self._host}:{broker}", "INSIDE": self.inside}
        told = ",".join(f"{name}://{address}" for name, address in listeners.items())
        return {
            "listeners": f"{told},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": told,
            "listener.security.protocol.map": "CLIENTS:SASL_SSL,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "INSIDE",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.clients.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._secured.key_and_certificate,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

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
