"""``POST /v1/items``: the catalogue over HTTP."""

from __future__ import annotations

from typing import Any

import httpx

ITEMS = {"batch": [{"item_id": "a", "name": "Mug", "type": "x"}, {"item_id": "b", "price": 2.5, "type": "x"}]}


def test_items_are_admitted_as_the_catalogue_dialect(private: httpx.Client, engine: Any) -> None:
    answer = private.post("/v1/items?verdicts=true", json=ITEMS)
    assert answer.status_code == 200
    assert [verdict["verdict"] for verdict in answer.json()["verdicts"]] == ["stored", "stored"]
    assert (engine.admitted[0]["dialect"], len(engine.admitted[0]["items"])) == ("catalog", 2)
    assert engine.flushes == 1


def test_the_write_key_does_not_reach_the_catalogue(public: httpx.Client, engine: Any) -> None:
    answer = public.post("/v1/items", json=ITEMS)
    assert answer.status_code == 403
    assert answer.json()["message"] == "this needs the scope catalogue"
    assert engine.admitted == []
