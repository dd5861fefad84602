"""What somebody asked for is a reason of their decisions, in the shop's words, until it has faded."""

from __future__ import annotations

from pathlib import Path

from opportune import Engine
from opportune.clock import DAY

NOW = 1_790_000_000_000
WORKSPACE = {
    "intents.yaml": """
intents:
  - name: price
    examples: [is there a discount on mugs, cheapest tea pot you have, any coupon for plates,
               what does the red lamp cost, sale on cups]
  - name: size
    examples: [does the shirt run small, which size should I take, the shoes are too tight,
               sleeves are too long on me, what size for a ten year old]
vectors: never
""",
    "segments.yaml": "segments: [{name: asks_about_size, when: {intents.size: {gt: 0.5}}}]",
    "placements.yaml": """
placements:
  - name: home
    count: 3
    fallbacks: [newest]
    rules:
      - {boost: 3, where: {category: Stretch}, segment: asks_about_size, reason: because you asked about size}
""",
}


def test_a_decision_says_that_it_is_because_of_what_was_asked(tmp_path: Path) -> None:
    for name, text in WORKSPACE.items():
        (tmp_path / name).write_text(text)
    now = [NOW]
    with Engine.open(tmp_path / "data", workspace=tmp_path, clock=lambda: now[0]) as engine:
        engine._world.timer = lambda: 0  # no stage is ever late
        engine.ingest(
            [
                {"item_id": f"p{n}", "name": f"shirt {n}", "category": "Stretch" if n == 1 else "Linen"}
                for n in range(6)
            ],
            dialect="catalog",
        )
        for who, text in (("u1", "which size should I take of the shirt"), ("u2", "any coupon for cups")):
            message = {"type": "track", "event": "Chat Message Sent", "userId": who, "messageId": who}
            engine.ingest({**message, "properties": {"text": text}})

        def told(who: str) -> tuple[dict[str, list[str]], list[str]]:
            [decision] = engine.decide({"placement": "home", "identifiers": {"user_id": who}}).decisions
            record = engine.decision(decision.decision_id)
            said = {i.item_id: [r.text for r in i.reasons if r.code == "rule"] for i in decision.items}
            return said, record["explanation"]["features"]["segments"]

        said, segments = told("u1")
        assert next(iter(said)) == "p1"
        assert said["p1"] == ["because you asked about size"]
        assert not any(said[item] for item in said if item != "p1")
        assert segments == ["asks_about_size"]  # the record keeps why
        for who in ("u2", "u3"):  # who asked for something else, and who asked for nothing
            said, segments = told(who)
            assert not any(said.values())
            assert segments == []
        now[0] += 2 * DAY  # the intent halves in a day: 1/4 is not more than 1/2
        said, segments = told("u1")
        assert not any(said.values())
        assert segments == []
