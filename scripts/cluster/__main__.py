"""Apache Kafka, Redis and PostgreSQL on this machine: ``python -m scripts.cluster up|down|status``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from scripts.cluster.kafka import Kafka
from scripts.cluster.parts import Missing, Parts
from scripts.cluster.postgres import Postgres
from scripts.cluster.redis import Redis

FOLDER = Path(".cache/cluster")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.cluster", description=__doc__)
    parser.add_argument("verb", choices=("up", "down", "status"))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="data, logs and the list of what runs")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--only", default="kafka,redis,postgres", help="a comma-separated choice of parts")
    options = parser.parse_args()
    parts = Parts(options.folder)
    if options.verb == "down":
        stopped = parts.down()
        print(f"stopped {', '.join(stopped)}" if stopped else "nothing was running", file=sys.stderr)
        return 0
    if options.verb == "up":
        chosen = set(options.only.split(","))
        unknown = chosen - {"kafka", "redis", "postgres"}
        if unknown:
            parser.error(f"unknown part {', '.join(sorted(unknown))}; choose from kafka, redis, postgres")
        try:
            if "kafka" in chosen:
                Kafka(parts, brokers=options.brokers).up()
            if "redis" in chosen:
                Redis(parts).up()
            if "postgres" in chosen:
                Postgres(parts).up()
        except Missing as missing:
            print(missing, file=sys.stderr)
            parts.down()
            return 1
    print(json.dumps(parts.addresses(), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
