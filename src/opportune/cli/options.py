"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

DATA_DIR_VARIABLE = "OPPORTUNE_DATA_DIR"
WORKSPACE_VARIABLE = "OPPORTUNE_WORKSPACE"
URL_VARIABLE = "OPPORTUNE_URL"
KEY_VARIABLE = "OPPORTUNE_KEY"

_FOLDER = click.Path(file_okay=False, path_type=Path)


def data_dir(function: F) -> F:
    """``--data-dir``, needed."""
    return click.option(
        "--data-dir",
        type=_FOLDER,
        required=True,
        envvar=DATA_DIR_VARIABLE,
        show_envvar=True,
        help="The data folder.",
    )(function)


def workspace(function: F) -> F:
    return click.option(
        "--workspace",
        type=_FOLDER,
        envvar=WORKSPACE_VARIABLE,
        show_envvar=True,
        help="The folder with the definitions; without it the defaults hold.",
    )(function)


def target(function: F) -> F:
    """``--data-dir`` or ``--to`` with ``--key``: which engine a command talks to."""
    for option in (
        workspace,
        click.option(
            "--key",
            default="",
            envvar=KEY_VARIABLE,
            show_envvar=True,
            help="A key of the server: the secret key where a command reads, else the write key will do.",
        ),
        click.option(
            "--to", "url", default="", envvar=URL_VARIABLE, show_envvar=True, help="A running server instead."
        ),
        click.option(
            "--data-dir",
            type=_FOLDER,
            envvar=DATA_DIR_VARIABLE,
            show_envvar=True,
            help="The data folder to open.",
        ),
    ):
        function = option(function)
    return function


def as_json(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)
