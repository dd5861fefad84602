"""The reference is what the code says, and everything that can be set, called or asked is in it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from tests.docs.blocks import ROOT

from opportune.cli.app import COMMANDS
from opportune.engine.workspace import FILES
from opportune.server.routes import ROUTES

REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_reference", ROOT / "scripts" / "build_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_pages_are_what_the_code_says(builder: ModuleType) -> None:
    pages: dict[Path, str] = builder.pages()
    assert {path.name for path in REFERENCE.glob("*.md")} == {path.name for path in pages}
    for path, text in pages.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run python scripts/build_reference.py"


def test_every_command_is_documented() -> None:
    text = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert re.search(rf"^## opportune {name}\b", text, re.MULTILINE), name


def test_every_route_is_documented() -> None:
    text = (REFERENCE / "http-api.md").read_text(encoding="utf-8")
    for route in ROUTES:
        assert f"`{route.method} {route.path}`" in text, route.path


def test_every_definition_file_is_documented() -> None:
    text = (REFERENCE / "definitions.md").read_text(encoding="utf-8")
    for name in FILES:
        assert f"## {name}" in text, name


def test_every_setting_is_documented() -> None:
    text = (REFERENCE / "configuration.md").read_text(encoding="utf-8")
    settings: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        settings |= set(re.findall(r'"(OPPORTUNE_[A-Z_]+)"', path.read_text(encoding="utf-8")))
    assert settings
    for name in sorted(settings):
        assert f"`{name}`" in text, name


def test_every_metric_in_the_documents_exists() -> None:
    known = set(re.findall(r"`(opportune_\w+)`", (REFERENCE / "metrics.md").read_text(encoding="utf-8")))
    for path in (ROOT / "docs").rglob("*.md"):
        if path.parent == REFERENCE:
            continue
        for name in re.findall(
            r"\b(opportune_[a-z_]+(?:total|seconds|bytes|events|ready|open|entries))\b", path.read_text()
        ):
            assert name in known or name.startswith("opportune_process_"), f"{path.name} names {name}"
