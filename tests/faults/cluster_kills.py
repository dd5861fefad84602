"""Trouble for a cluster under load: nothing acknowledged is lost or counted twice, decisions go on.

``python -m tests.faults.cluster_kills --rounds 14 --seed 1`` starts three brokers, Redis, and the roles;
posts events one by one, each again until it is acknowledged; asks for decisions all the time; and every few
seconds does one of :data:`~tests.faults.cluster_faults.FAULTS`. In the end every person's profile must
count exactly the events that were posted, and the journal must hold each of them once. Then Redis is emptied,
rebuilt, and counted again. Root is needed for the full disk and the cut network; without
it they are named as not tried. Profiles are read too: the audit log in PostgreSQL must have every read.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
from scripts.cluster.settled import settle
from tests.faults.cluster_faults import FAULTS, drawn, possible
from tests.faults.cluster_load import DEADLINE_MS, Asking, Load
from tests.faults.cluster_scene import ROLES, Scene

from benchmarks import documents
from opportune.access.shared_audit import SharedAudit
from opportune.cli.cluster_shared import opened
from opportune.events.event import Event
from opportune.profiles.schema import ProfileSchema
from opportune.streams.config import ClusterConfig
from opportune.streams.rebuild import rebuild
from opportune.streams.serving_copy import END, LEAF, STAMP_BYTES, ServingCopy
from opportune.streams.tail import Tail, catch_up
from opportune.streams.topics import Topics, ensure

BETWEEN = 60
"""Events acknowledged between two rounds at least, so that every fault hits work."""
ASKED_A_SECOND = 10.0
DOCUMENT = Path("docs/decisions/0006-stream-engine.md")


def run(rounds: int, seed: int, rate: float, folder: Path) -> dict[str, Any]:
    draw = random.Random(seed)
    scene = Scene(folder)
    try:
        config = scene.up()
        topics = ensure(config)
        for role in ROLES:
            scene.start(role)
        kinds, missing = possible(scene)
        now = ["nothing"]
        with (
            Load(scene.ports["gateway"], rate) as load,
            Asking(scene.ports["decide"], ASKED_A_SECOND, lambda: now[0]) as asking,
        ):
            while not load.acknowledged or not asking.took_ms:
                time.sleep(0.2)
            asking.unanswered.clear()
            asking.unread.clear()
            for number, kind in enumerate(drawn(kinds, rounds, draw), 1):
                scene.wait(draw.uniform(1, 4))
                began, now[0] = time.monotonic(), kind
                scene.happened[kind] += 1
                FAULTS[kind](scene, draw)
                goal = load.acknowledged.total() + BETWEEN
                while load.acknowledged.total() < goal:
                    scene.wait(0.1)
                now[0] = "nothing"
                took = time.monotonic() - began
                print(f"seed {seed} round {number}: {kind}, {took:.1f} s until posts went on", flush=True)
        settle(config, topics, within_s=180, meanwhile=scene.revive)
        found = counted(config, load)
        found |= {"rounds": rounds, "seed": seed, "in_journal_twice": twice(config, topics)}
        found |= {"happened": dict(scene.happened), "not_tried": missing}
        found |= {"acknowledged": load.acknowledged.total(), "refusals": dict(load.refusals)}
        found |= {"decisions": len(asking.took_ms), "slowest_ms": round(max(asking.took_ms))}
        found |= {"late": dict(asking.late), "unanswered": dict(asking.unanswered)}
        found |= {"degraded": dict(asking.degraded)}
        found |= audited(config, asking)
        server = redis.Redis.from_url(config.redis.url)
        server.flushall()
        rebuild(config, topics, ProfileSchema.default(), ServingCopy(config))
        server.close()
        return found | {f"{name}_after_rebuild": n for name, n in counted(config, load).items()}
    finally:
        scene.down()


def counted(config: ClusterConfig, load: Load) -> dict[str, Any]:
    """Events that profiles count too little or too much, and the same of links."""
    copy, schema = ServingCopy(config), ProfileSchema.default()
    lost = double = 0
    for kind, expected in ((LEAF, load.acknowledged), (END, load.linked)):
        names = sorted(expected)
        for name, data in zip(names, copy.get([copy.key(kind, n.encode()) for n in names]), strict=True):
            leaf = schema.zero() if data is None else schema.decode(data[STAMP_BYTES:])
            count = leaf.events if kind == LEAF else sum(e.count for e in leaf.links.values())
            lost += max(0, expected[name] - count)
            double += max(0, count - expected[name])
    copy.close()
    return {"lost": lost, "double": double}


def audited(config: ClusterConfig, asking: Asking) -> dict[str, Any]:
    """Reads that were answered and are not in the audit log, and whether its chain is whole."""
    postgres = opened(config)
    postgres.wait(60)
    log = SharedAudit(postgres)
    noted = sum(entry.did == "profile.read" for entry in log.entries())
    checked = log.verify()
    log.close()
    return {
        "reads": asking.read,
        "unread": dict(asking.unread),
        "reads_not_noted": max(0, asking.read - noted),
        "audit_broken_at": checked.broken_at,
    }


def twice(config: ClusterConfig, topics: Topics) -> int:
    """Events that the journal holds more than once."""
    tail = Tail(config, (topics.journal,))
    seen = Counter(entry.message_id for entry in catch_up(tail) if type(entry) is Event)
    tail.close()
    return sum(count - 1 for count in seen.values())


WRONG = (
    "lost",
    "double",
    "in_journal_twice",
    "lost_after_rebuild",
    "double_after_rebuild",
    "reads_not_noted",
    "audit_broken_at",
)


def told(runs: Sequence[dict[str, Any]]) -> str:
    """A paragraph for the document, over some runs."""

    def summed(name: str) -> Counter[str]:
        return sum((Counter(run[name]) for run in runs), Counter[str]())

    def listed(name: str) -> str:
        return ", ".join(f"{count} x {what}" for what, count in sorted(summed(name).items())) or "none"

    total = {
        name: sum(run[name] for run in runs)
        for name in (*WRONG, "rounds", "acknowledged", "decisions", "reads")
    }
    missing = sorted({kind for run in runs for kind in run["not_tried"]})
    return (
        f"{total['rounds']} rounds (seeds {', '.join(str(run['seed']) for run in runs)}): "
        f"{listed('happened')}. {total['acknowledged']:,} events acknowledged; posts that were not: "
        f"{listed('refusals')}. Lost: {total['lost']}. Counted twice: {total['double']}. "
        f"Twice in the journal: {total['in_journal_twice']}. After Redis was emptied and rebuilt: "
        f"{total['lost_after_rebuild']} lost, {total['double_after_rebuild']} twice.\n\n"
        f"{total['decisions']:,} decisions asked meanwhile with a deadline of {DEADLINE_MS} ms, the slowest "
        f"answered after {max(run['slowest_ms'] for run in runs)} ms; answered later than the deadline: "
        f"{listed('late')}; not answered: {listed('unanswered')}; said that they know too little of the "
        f"person: {listed('degraded')}. {total['reads']:,} profiles read meanwhile, "
        f"{total['reads_not_noted']} of them missing in the audit log, its chain broken in "
        f"{sum(bool(run['audit_broken_at']) for run in runs)} of {len(runs)} runs; "
        f"{summed('unread')['503']} refused because they could not be noted, or Redis was away."
        + (f" Not tried here: {', '.join(missing)}." if missing else "")
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=100.0, help="events per second")
    parser.add_argument("--folder", type=Path, help="kept afterwards, with the logs")
    parser.add_argument("--save", type=Path, help="where the outcome goes, for --write")
    parser.add_argument(
        "--write", type=Path, nargs="+", help="put the outcomes that were saved into the document"
    )
    options = parser.parse_args()
    if options.write:
        runs = [json.loads(path.read_text()) for path in options.write]
        documents.put(DOCUMENT, "kills", told(runs))
        return int(any(run[name] for run in runs for name in WRONG))
    folder = options.folder
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="cluster-kills-"))
        folder.chmod(0o711)  # PostgreSQL runs as another user and must get through
    folder.mkdir(parents=True, exist_ok=True)
    found = run(options.rounds, options.seed, options.rate, folder.absolute())
    print(json.dumps(found, indent=2))
    if options.save:
        options.save.write_text(json.dumps(found))
    return int(any(found[name] for name in WRONG))


if __name__ == "__main__":
    sys.exit(main())
