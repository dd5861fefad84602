"""Commands run in this process, as the shell would see them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from opportune.cli import options
from opportune.cli.edge import run
from opportune.server import auth


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Opportune = Callable[..., Ran]


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        options.DATA_DIR_VARIABLE,
        options.WORKSPACE_VARIABLE,
        options.URL_VARIABLE,
        options.KEY_VARIABLE,
        auth.WRITE_KEY_VARIABLE,
        auth.SECRET_KEY_VARIABLE,
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def opportune(capsys: pytest.CaptureFixture[str]) -> Opportune:
    def call(*args: str | Path) -> Ran:
        capsys.readouterr()
        code = run([str(arg) for arg in args])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture
def clicks(tmp_path: Path) -> Path:
    """Four good rows and two bad ones."""
    path = tmp_path / "clicks.csv"
    path.write_text(
        "event,user_id,sku,price,time\n"
        "view,u1,a,1,2026-11-20T10:00:00Z\n"
        "view,u1,b,2,2026-11-20T10:01:00Z\n"
        "view,u2,a,1,2026-11-20T10:02:00Z\n"
        "cart,u2,b,2,2026-11-20T10:03:00Z\n"
        "view,,c,1,2026-11-20T10:04:00Z\n"
        "view,u3,c,1,noon\n"
    )
    return path


@pytest.fixture
def data(tmp_path: Path, opportune: Opportune, clicks: Path) -> Path:
    """A data folder with the clicks in it."""
    folder = tmp_path / "data"
    assert opportune("import", "events", clicks, "--data-dir", folder).code == 0
    return folder
