"""``opportune serve --role`` and ``opportune cluster``: wrong usage."""

from __future__ import annotations

from pathlib import Path

import pytest

from opportune.cli.cluster_roles import chosen
from opportune.cli.edge import run
from opportune.errors import InvalidRequest


def test_roles_are_a_list_without_doubles() -> None:
    assert chosen("fold, gateway,fold") == ("fold", "gateway")


@pytest.mark.parametrize(("text", "seen"), [("gatway", "gatway"), ("fold,x", "x"), (" , ", " , ")])
def test_an_unknown_role_is_told(text: str, seen: str) -> None:
    with pytest.raises(InvalidRequest, match=f"no such role, saw '{seen}', at --role: choose from gateway, "):
        chosen(text)


def test_role_and_cluster_belong_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--data-dir", str(tmp_path), "--role", "fold"]) == 2
    assert "--role and --cluster belong together" in capsys.readouterr().err


def test_a_wrong_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("kafka: {brokers: 'k:9092'}\n")
    assert run(["serve", "--data-dir", str(tmp_path), "--role", "fold", "--cluster", str(file)]) == 1
    assert "missing required field `redis`, at cluster.yaml" in capsys.readouterr().err
