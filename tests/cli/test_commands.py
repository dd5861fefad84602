"""Each command over a data folder."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from tests.cli.conftest import Opportune

from opportune.cli import bench, imports
from opportune.cli.demo import forget
from opportune.engine.workspace import load_workspace
from opportune.errors import InvalidRequest


def test_import_says_what_became_of_every_row(opportune: Opportune, clicks: Path, tmp_path: Path) -> None:
    shown = opportune("import", "events", clicks, "--data-dir", tmp_path / "d", "--json")
    assert shown.code == 0
    assert shown.json == {
        "files": [
            {
                "file": str(clicks),
                "rows": 6,
                "sent": 6,
                "stored": 4,
                "duplicate": 0,
                "rejected": 2,
                "unusable": 0,
                "finished": True,
                "already_imported": False,
                "rejected_file": f"{clicks}.rejected.jsonl",
            }
        ]
    }
    refused = [json.loads(line) for line in Path(f"{clicks}.rejected.jsonl").read_text().splitlines()]
    assert [(one["line"], one["code"], one["where"]) for one in refused] == [
        (6, "no_identifier", "$.userId"),
        (7, "bad_time", "$.timestamp"),
    ]


def test_import_again_stores_nothing_twice(opportune: Opportune, clicks: Path, data: Path) -> None:
    shown = opportune("import", "events", clicks, "--data-dir", data)
    assert shown.out == f"{clicks}: imported before, 6 rows; --again reads it once more\n"
    shown = opportune("import", "events", clicks, "--data-dir", data, "--again")
    assert shown.out == f"{clicks}: 6 rows, 0 events stored, 4 were there already\n"
    counts = opportune("accounting", "--data-dir", data, "--json").json["sources"]["import"]
    assert {name: counts[name] for name in ("received", "stored", "duplicate", "rejected")} == {
        "received": 12,
        "stored": 4,
        "duplicate": 4,
        "rejected": 4,
    }


def test_import_orders_and_items(opportune: Opportune, tmp_path: Path) -> None:
    orders = tmp_path / "orders.csv"
    orders.write_text(
        "InvoiceNo;StockCode;Quantity;UnitPrice;InvoiceDate;CustomerID\n"
        "1;mug;2;2,50;20.11.2026 10:00;7.0\n1;pot;1;10;20.11.2026 10:00;7.0\n"
    )
    items = tmp_path / "items.jsonl"
    items.write_text('{"sku":"mug","title":"Mug","price":2.5}\n{"sku":"pot","title":"Pot","price":10}\n')
    folder = tmp_path / "d"
    done = opportune("import", "orders", orders, "--time-format", "%d.%m.%Y %H:%M", "--data-dir", folder)
    assert done.out == f"{orders}: 2 rows, 1 events stored\n"
    assert opportune("import", "items", items, "--data-dir", folder).code == 0
    known = opportune("profile", "user_id:7", "--data-dir", folder, "--json").json
    assert known["features"]["orders_all"] == 1
    assert known["features"]["spend_all"] == pytest.approx(2 * 2.5 + 10)
    answer = opportune(
        "decide", "--placement", "home_recs", "--user-id", "8", "--data-dir", folder, "--json"
    ).json
    assert {item["item"]["name"] for item in answer["decisions"][0]["items"]} == {"Mug", "Pot"}


def test_an_interrupted_import_stops_after_a_batch_and_goes_on(
    opportune: Opportune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.csv"
    path.write_text("event,user_id,sku\n" + "".join(f"view,u{n},s{n % 7}\n" for n in range(2_500)))
    send = imports._Sink.send

    def interrupted_after(self: imports._Sink, raws: Sequence[dict[str, Any]]) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return send(self, raws)

    monkeypatch.setattr(imports._Sink, "send", interrupted_after)
    handler = signal.getsignal(signal.SIGINT)
    shown = opportune("import", "events", path, "--data-dir", tmp_path / "d")
    assert signal.getsignal(signal.SIGINT) is handler
    assert shown.code == 130
    assert shown.out == f"{path}: 1,000 rows, 1,000 events stored so far\n"
    assert "run the same command to go on" in shown.err
    monkeypatch.undo()
    shown = opportune("import", "events", path, "--data-dir", tmp_path / "d")
    assert (shown.code, shown.out) == (0, f"{path}: 2,500 rows, 2,500 events stored\n")


def test_import_refuses_what_it_cannot_do(opportune: Opportune, clicks: Path, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    shown = opportune("import", "events", tmp_path / "no.csv", "--data-dir", folder)
    assert (shown.code, shown.err) == (1, f"error: no such file, saw '{tmp_path}/no.csv': check the path\n")
    shown = opportune("import", "events", clicks, "--encoding", "utf-9", "--data-dir", folder)
    assert (shown.code, shown.err) == (
        2,
        "error: no such encoding, saw 'utf-9', at --encoding: utf-8, cp1252\n",
    )
    shown = opportune("import", "events", clicks, clicks, "--rejected", "r", "--data-dir", folder)
    assert (shown.code, shown.err) == (
        2,
        "error: one report for several files, at --rejected: import one file at a time\n",
    )


def test_profile_shows_who_and_what(opportune: Opportune, data: Path) -> None:
    shown = opportune("profile", "user_id:u1", "--data-dir", data)
    assert shown.code == 0
    assert "user_id:u1" in shown.out
    assert "2026-11-20 10:01:00" in shown.out
    whole = opportune("profile", "user_id:u1", "--data-dir", data, "--json").json
    assert whole["events"] == {"product_viewed": 2}


def test_decide_ranks_and_says_why(opportune: Opportune, data: Path) -> None:
    ask = ("decide", "--placement", "home_recs", "--user-id", "u1", "--data-dir", data)
    [decision] = opportune(*ask, "--json").json["decisions"]
    assert decision["placement"] == "home_recs"
    assert {item["item_id"] for item in decision["items"]} == {"a", "b"}
    shown = opportune(*ask)
    assert "rank   item" in shown.out
    assert decision["items"][0]["reasons"][0]["text"] in shown.out


def test_decide_takes_a_whole_request(opportune: Opportune, data: Path) -> None:
    request = {"placements": ["home_recs", "cart_upsell"], "count": 1, "identifiers": {"user_id": "u2"}}
    answer = opportune("decide", "--request", json.dumps(request), "--data-dir", data, "--json").json
    assert [decision["placement"] for decision in answer["decisions"]] == ["home_recs", "cart_upsell"]
    assert all(len(decision["items"]) <= 1 for decision in answer["decisions"])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "for which placement?, at --placement: for example home_recs"),
        (("--request", "[1]"), "not a JSON object (Expected `object`, got `array`), at --request: "),
    ],
)
def test_decide_refuses_what_is_no_request(
    opportune: Opportune, data: Path, args: tuple[str, ...], message: str
) -> None:
    shown = opportune("decide", "--data-dir", data, *args)
    assert shown.code == 2
    assert message in shown.err


def test_accounting_adds_up(opportune: Opportune, data: Path) -> None:
    shown = opportune("accounting", "--data-dir", data)
    row = next(line.split() for line in shown.out.splitlines() if line.strip().startswith("import"))
    assert row == ["import", "6", "4", "0", "2", "0", "0", "0"]


def test_a_dead_letter_is_fixed_and_replayed(opportune: Opportune, data: Path, tmp_path: Path) -> None:
    letters = opportune("dead-letters", "list", "--data-dir", data, "--code", "bad_time", "--json").json[
        "letters"
    ]
    assert len(letters) == 1
    letter = letters[0]
    shown = opportune("dead-letters", "list", "--data-dir", data)
    assert letter["id"] in shown.out
    refused = opportune("dead-letters", "replay", letter["id"], "--data-dir", data)
    assert refused.code == 1
    assert "not an ISO 8601 time" in refused.err
    fixed = tmp_path / "fixed.json"
    fixed.write_text(letter["raw"].replace("noon", "2026-11-20T12:00:00Z"))
    done = opportune("dead-letters", "replay", letter["id"], "--fixed", fixed, "--data-dir", data)
    assert (done.code, done.out) == (0, f"{letter['id']} stored\n")
    known = opportune("profile", "user_id:u3", "--data-dir", data, "--json").json
    assert known["events"] == {"product_viewed": 1}


def test_a_dead_letter_is_discarded(opportune: Opportune, data: Path) -> None:
    ids = [
        one["id"] for one in opportune("dead-letters", "list", "--data-dir", data, "--json").json["letters"]
    ]
    assert len(ids) == 2
    done = opportune("dead-letters", "discard", *ids, "--data-dir", data)
    assert done.out == "".join(f"{one} discarded\n" for one in ids)
    assert opportune("dead-letters", "list", "--data-dir", data).out == "no open dead letters\n"
    assert opportune("dead-letters", "discard", ids[0], "--data-dir", data).code == 1


def test_doctor_finds_a_sound_folder_and_a_damaged_one(opportune: Opportune, data: Path) -> None:
    shown = opportune("doctor", "--data-dir", data)
    assert shown.code == 0
    assert shown.out.rstrip().endswith("sound")
    [segment] = (data / "journal").iterdir()
    damaged = bytearray(segment.read_bytes())
    damaged[60] ^= 0x40
    segment.write_bytes(damaged)
    shown = opportune("doctor", "--data-dir", data, "--json")
    assert shown.code == 1
    assert shown.json["sound"] is False
    finding = shown.json["findings"][0]
    assert finding["severity"] == "error"
    shown = opportune("doctor", "--data-dir", data)
    assert shown.code == 1
    assert finding["what"] in shown.out
    assert "DAMAGED" in shown.out


def test_backup_and_restore_give_the_same_answers(opportune: Opportune, data: Path, tmp_path: Path) -> None:
    for destination in (tmp_path / "b", tmp_path / "b.tar"):
        done = opportune("backup", destination, "--data-dir", data, "--json")
        assert done.code == 0
        target = tmp_path / f"restored-{destination.name}"
        without = opportune("restore", destination, "--data-dir", target)
        assert (without.code, "pass --vault DATA/vault" in without.err) == (1, True)
        restored = opportune("restore", destination, "--vault", data / "vault", "--data-dir", target)
        assert restored.code == 0
        asked = [
            opportune("profile", "user_id:u1", "--data-dir", folder, "--json").json
            for folder in (data, target)
        ]
        assert asked[0]["events"] == asked[1]["events"] == {"product_viewed": 2}
        counts = [opportune("accounting", "--data-dir", folder, "--json").json for folder in (data, target)]
        assert counts[0] == counts[1]


def test_restore_never_writes_over_a_folder(opportune: Opportune, data: Path, tmp_path: Path) -> None:
    opportune("backup", tmp_path / "b.tar", "--data-dir", data)
    shown = opportune("restore", tmp_path / "b.tar", "--data-dir", data)
    assert shown.code == 1
    assert "the folder to restore into is not empty" in shown.err


def test_keys_are_made_once_and_the_secret_is_hidden(opportune: Opportune, tmp_path: Path) -> None:
    first = opportune("keys", "--data-dir", tmp_path / "d")
    assert "hidden" in first.out
    both = opportune("keys", "--data-dir", tmp_path / "d", "--secret", "--json").json
    assert both["write_key"] in first.out
    assert both["secret_key"] not in first.out


def test_the_environments_keys_are_shown(
    opportune: Opportune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPPORTUNE_WRITE_KEY", "wk")
    monkeypatch.setenv("OPPORTUNE_SECRET_KEY", "sk")
    assert opportune("keys", "--data-dir", tmp_path / "d", "--secret", "--json").json == {
        "write_key": "wk",
        "secret_key": "sk",
    }


def test_a_new_workspace_is_the_defaults_and_fits_its_schemas(opportune: Opportune, tmp_path: Path) -> None:
    folder = tmp_path / "ws"
    done = opportune("init", folder, "--json").json
    assert done["kept"] == []
    fresh, shipped = load_workspace(folder), load_workspace(None)
    assert fresh.features.features == shipped.features.features
    assert fresh.placements.by_name == shipped.placements.by_name
    assert fresh.identity == shipped.identity
    for path in folder.glob("*.yaml"):
        first_line, *_ = path.read_text().splitlines()
        reference = first_line.removeprefix("# yaml-language-server: $schema=")
        schema = json.loads((folder / reference).read_text())
        jsonschema_rs.validator_for(schema).validate(yaml.safe_load(path.read_text()))
        assert not jsonschema_rs.validator_for(schema).is_valid({"nonsense": 1}), path.name


def test_the_commented_examples_of_a_new_workspace_are_right(opportune: Opportune, tmp_path: Path) -> None:
    folder = tmp_path / "ws"
    opportune("init", folder)
    for name, key in (("features", "features"), ("tracking_plan", "events"), ("identity", "limits")):
        text = (folder / f"{name}.yaml").read_text()
        _, found, example = text.partition(f"# {key}:")
        assert found
        uncommented = "\n".join(line.removeprefix("# ").removeprefix("#") for line in example.splitlines())
        (folder / f"{name}.yaml").write_text(f"{key}:{uncommented}\n")
    found_workspace = load_workspace(folder)
    assert {"mug_views", "sizes", "affinity_colour"} <= {
        one.name for one in found_workspace.features.features
    }
    assert set(found_workspace.plan.definition.events) == {"Product Viewed", "Order Completed", "identify"}
    assert found_workspace.identity.limit("email") == 5


def test_init_keeps_what_is_there(opportune: Opportune, tmp_path: Path) -> None:
    (tmp_path / "features.yaml").write_text("features: []\n")
    done = opportune("init", tmp_path, "--json").json
    assert done["kept"] == [str(tmp_path / "features.yaml")]
    assert (tmp_path / "features.yaml").read_text() == "features: []\n"


def test_schema_prints_one_or_all(opportune: Opportune) -> None:
    everything = opportune("schema").json
    names = {
        "features",
        "placements",
        "tracking_plan",
        "identity",
        "intents",
        "segments",
        "scores",
        "experiments",
        "consent",
        "metrics",
        "privacy",
        "access",
    }
    assert set(everything) == names
    assert opportune("schema", "placements").json == everything["placements"]
    for schema in everything.values():
        jsonschema_rs.meta.validate(schema)


def test_version_names_what_a_bug_report_needs(opportune: Opportune) -> None:
    found = opportune("version", "--json").json
    assert {"opportune", "python", "numpy", "numba", "msgspec", "platform"} <= set(found)
    assert opportune("--version").out.strip() == found["opportune"]


def test_bench_without_a_checkout_says_where(opportune: Opportune, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "checkout", lambda: None)
    shown = opportune("bench")
    assert shown.code == 1
    assert "the benchmarks are in the source checkout, not in the package" in shown.err
    assert opportune("bench", "nonsense").code == 2


def test_fresh_removes_data_folders_only(tmp_path: Path, data: Path) -> None:
    forget(data)
    assert not data.exists()
    forget(data)
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.txt").write_text("x")
    with pytest.raises(InvalidRequest, match="not a data folder, so it is left alone"):
        forget(precious)
    assert (precious / "thesis.txt").exists()
