"""The package reads in the order that data flows: a stage imports only stages before it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "opportune"

STAGES = (
    "events",
    "identity",
    "privacy",
    "profiles",
    "catalog",
    "recommend",
    "experiments",
    "brand",
    "decide",
    "journeys",
    "learn",
    "engine",
)
SHARED = ("errors", "clock", "kernels", "config")
EDGES: dict[str, tuple[str, ...]] = {
    "stores": SHARED,
    "access": (*SHARED, "stores"),
    "importing": (*SHARED, "events"),
    "simulate": (*SHARED, *STAGES),
    "server": (*SHARED, *STAGES, "stores", "warehouse", "access"),
    "console": (*SHARED, *STAGES, "stores", "server", "warehouse", "access"),
    "demo": (*SHARED, *STAGES, "stores", "importing", "simulate", "server", "console"),
    "streams": (*SHARED, *STAGES, "stores"),
    "cli": (
        *SHARED,
        *STAGES,
        "stores",
        "importing",
        "simulate",
        "server",
        "console",
        "demo",
        "streams",
        "warehouse",
        "access",
        "",
    ),
    "warehouse": (*SHARED, *STAGES),
    "testing": (*SHARED, *STAGES, "stores"),
}
"""Everything that is no stage -> what it may import; the empty name is the package itself."""

OUTSIDE = {
    "socket",
    "ssl",
    "http",
    "urllib.request",
    "asyncio",
    "subprocess",
    "sqlite3",
    "shutil",
    "tempfile",
    "multiprocessing",
}
"""Modules that touch the disk, the network or other processes: not for stages."""

NOW = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}
"""Calls that read the wall clock: time is an argument."""


def allowed(part: str) -> set[str]:
    if part in SHARED:
        return {*SHARED}
    if part in STAGES:
        stores = {"stores"} if part == "engine" else set()
        return {*SHARED, *STAGES[: STAGES.index(part) + 1], *stores}
    return {part, *EDGES[part]}


def part_of(path: Path) -> str:
    """The first name under the package: a stage, an edge, a shared module."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    return sorted(
        path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE
    )


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, those inside functions and for type checkers too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are written in full"
            if node.module == "opportune":
                yield from ((node.lineno, f"opportune.{alias.name}") for alias in node.names)
            elif node.module:
                yield node.lineno, node.module


def test_every_folder_has_its_place() -> None:
    parts = {part_of(path) for path in modules()}
    assert parts <= {*STAGES, *SHARED, *EDGES}, "give a new folder its place in STAGES or EDGES"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_what_comes_before(path: Path) -> None:
    part = part_of(path)
    known = {*STAGES, *SHARED, *EDGES}
    may = allowed(part)
    for line, name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        root, _, rest = name.partition(".")
        if root != "opportune":
            continue
        target = rest.partition(".")[0]
        target = target if target in known else ""
        assert target in may, (
            f"{path.relative_to(PACKAGE)} line {line} imports {name}: {part} comes before it"
        )


@pytest.mark.parametrize(
    "path",
    [p for p in modules() if part_of(p) in STAGES[:-1]],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_a_stage_touches_no_disk_no_network_and_no_clock(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    where = path.relative_to(PACKAGE)
    for line, name in imports(tree):
        assert not {name, name.partition(".")[0]} & OUTSIDE, (
            f"{where} line {line} imports {name}: edges do that"
        )
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        assert not (isinstance(called, ast.Name) and called.id == "open"), (
            f"{where} line {node.lineno} opens a file"
        )
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            name_of = (called.value.id, called.attr)
            assert name_of not in NOW, f"{where} line {node.lineno} reads the clock: take a clock or a time"


def test_the_check_finds_an_import_of_what_comes_later() -> None:
    found = list(imports(ast.parse("def f():\n    from opportune.engine.engine import Engine\n")))
    assert found == [(2, "opportune.engine.engine")]
    assert "engine" not in allowed("decide")
    assert "decide" in allowed("engine")
