from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Opportune


def test_a_server_that_is_not_there(opportune: Opportune) -> None:
    ran = opportune("simulate", "--to", "http://127.0.0.1:9", "--key", "wk", "--shoppers", "50")
    assert ran.code != 0
    assert "the server does not answer" in ran.err
    assert "start it: opportune serve" in ran.err


def test_settings_are_checked(opportune: Opportune, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text("novelties: 3\n", encoding="utf-8")
    ran = opportune("simulate", "--to", "http://127.0.0.1:9", "--key", "wk", "--settings", file)
    assert ran.code != 0
    assert "shop.yaml" in ran.err
    assert "novelties" in ran.err
