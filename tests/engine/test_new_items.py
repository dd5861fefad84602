"""An item that nobody has heard of can be recommended by the next decision after its first event."""

from __future__ import annotations

from pathlib import Path

from opportune import Engine


def viewed(person: str, item_id: str, message: str) -> dict[str, object]:
    return {
        "type": "track",
        "event": "Product Viewed",
        "messageId": message,
        "anonymousId": person,
        "properties": {"product_id": item_id, "name": item_id, "category": f"about {item_id}"},
    }


def test_the_next_decision_may_show_an_item_after_its_first_event(tmp_path: Path) -> None:
    with Engine.open(tmp_path / "data") as engine:
        engine.ingest([viewed(f"a{n}", f"old{n % 5}", f"m{n}") for n in range(40)])

        def shown(**request: object) -> dict[str, list[str]]:
            answer = engine.decide({"identifiers": {"anonymous_id": "somebody"}, **request})
            return {i.item_id: [r.code for r in i.reasons] for i in answer.decisions[0].items}

        beside = {"placement": "pdp_similar", "context": {"item_id": "old1"}}
        home = {"placement": "home_recs"}
        assert "brand_new" not in {**shown(**beside), **shown(**home)}
        engine.ingest([viewed("a1", "old1", "x1"), viewed("a1", "brand_new", "x2")])
        assert "brand_new" in shown(**beside)
        assert "brand_new" in shown(**home)
