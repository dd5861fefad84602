"""Definitions are files: YAML read into frozen structs, with the path of whatever is wrong."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from opportune.errors import InvalidDefinition

T = TypeVar("T")

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml where PyYAML came with it: ten times faster, which a start feels."""

_PATH = re.compile(r" - at `(?P<path>[^`]+)`$")


def load(path: Path, shape: type[T]) -> T:
    """Read one definition file as ``shape``. Raises :class:`InvalidDefinition` with file, path, remedy."""
    return parse(read(path), shape, name=path.name)


def read(path: Path) -> str:
    """The text of a definition file. Raises :class:`InvalidDefinition`."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidDefinition(
            f"cannot read the definition file ({error.strerror})", where=str(path), remedy="check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidDefinition(
            "the definition file is not UTF-8", where=str(path), remedy="save it as UTF-8"
        ) from error


def parse(text: str, shape: type[T], *, name: str = "definition") -> T:
    """Read definition text as ``shape``; ``name`` is what messages call it."""
    data = parse_plain(text, name=name)
    try:
        return msgspec.convert({} if data is None else data, shape)
    except (msgspec.ValidationError, ValueError) as error:
        message = str(error)
        found = _PATH.search(message)
        where = f"{name} {found['path']}" if found else name
        what = _PATH.sub("", message)
        raise InvalidDefinition(what, where=where, remedy=f"see the JSON Schema of {name}") from error


def parse_plain(text: str, *, name: str = "definition") -> Any:
    """Read definition text as lists, dicts and scalars. Raises :class:`InvalidDefinition` with the place."""
    with contextlib.suppress(yaml.YAMLError):
        return yaml.load(text, _Loader)  # a safe loader, whichever it is
    try:  # once more, by the parser that tells better where it is wrong
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidDefinition(
            f"not valid YAML: {getattr(error, 'problem', error)}",
            where=f"{name}{_mark(error)}",
            remedy="fix the syntax there",
        ) from error


def json_schema(shape: Any) -> dict[str, Any]:
    """The JSON Schema that editors complete definition files with."""
    return msgspec.json.schema(shape)


def _mark(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f" line {mark.line + 1} column {mark.column + 1}"
