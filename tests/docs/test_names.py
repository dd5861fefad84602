"""Files, functions and commands that documents name exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from tests.docs.blocks import ROOT, documents

from opportune.cli.app import COMMANDS

PACKAGE = ROOT / "src" / "opportune"

_NAMED = re.compile(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|yaml))(?::([A-Za-z_][\w.]*))?`")
_COMMAND = re.compile(r"\bopportune (?!import\b)([a-z][a-z-]+)\b")
_MODULE = re.compile(r"`(opportune(?:\.\w+)+)`")
_WORKSPACE = {
    "features.yaml",
    "placements.yaml",
    "tracking_plan.yaml",
    "identity.yaml",
    "intents.yaml",
    "segments.yaml",
    "scores.yaml",
    "experiments.yaml",
    "access.yaml",
    "consent.yaml",
    "metrics.yaml",
    "privacy.yaml",
    "cluster.yaml",
}


def found(name: str) -> Path | None:
    """A file as documents write it: from the root, from the package, or in the workspace."""
    for base in (PACKAGE, ROOT):
        if (base / name).exists():
            return base / name
    return None


@cache
def names_in(path: Path) -> frozenset[str]:
    """Everything defined at the top of a module, and in its classes as ``Class.name``."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names |= defined(node)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{name}" for inner in node.body for name in defined(inner)}
    return frozenset(names)


def defined(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    return set()


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_named_file_and_function_exists(path: Path) -> None:
    for file, name in _NAMED.findall(path.read_text(encoding="utf-8")):
        if Path(file).name in _WORKSPACE or file in ("paths.py", "base.py"):
            continue
        at = found(file)
        assert at is not None, f"{path.relative_to(ROOT)} names {file}"
        if name:
            assert name in names_in(at), f"{path.relative_to(ROOT)} names {file}:{name}"


def test_the_architecture_names_many() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert sum(1 for _, name in _NAMED.findall(text) if name) >= 40


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_named_module_exists(path: Path) -> None:
    for module in _MODULE.findall(path.read_text(encoding="utf-8")):
        parts = module.split(".")[1:]
        at = PACKAGE.joinpath(*parts)
        assert at.is_dir() or at.with_suffix(".py").exists() or is_member(parts), (
            f"{path.name} names {module}"
        )


def is_member(parts: list[str]) -> bool:
    """``opportune.kernels.kernel``: a name in a module."""
    at = PACKAGE.joinpath(*parts[:-1]).with_suffix(".py")
    return at.exists() and parts[-1] in names_in(at)


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_named_command_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    shown = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL)
    for piece in shown:
        for command in _COMMAND.findall(piece):
            assert command in COMMANDS, f"{path.relative_to(ROOT)} names 'opportune {command}'"


def test_the_glossary_has_no_word_twice() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE)[1:]
    assert words
    assert len(words) == len(set(words))
