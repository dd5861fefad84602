"""The process edge: one line per error, exit codes, help that answers at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.cli.conftest import Opportune

from opportune.cli import edge
from opportune.cli.app import COMMANDS, every_command


def test_help_lists_every_command(opportune: Opportune) -> None:
    shown = opportune("--help")
    assert shown.code == 0
    for name in COMMANDS:
        assert f"  {name} " in shown.out, name


@pytest.mark.parametrize(("name", "command"), every_command(), ids=lambda v: v if isinstance(v, str) else "")
def test_every_command_explains_itself_with_an_example(
    name: str, command: click.Command, opportune: Opportune
) -> None:
    shown = opportune(*name.split(), "--help")
    assert shown.code == 0
    assert "Examples:" in shown.out
    assert f"opportune {name}" in shown.out.partition("Examples:")[2]
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name not in ("log_format", "log_level"):
            assert parameter.help, f"{name} {parameter.opts} has no help"


def test_every_printing_command_has_json() -> None:
    silent = {"serve", "demo", "bench", "schema"}
    for name, command in every_command():
        flags = {flag for parameter in command.params for flag in parameter.opts}
        assert ("--json" in flags) is (name not in silent), name


def test_help_does_not_wait_for_the_engine() -> None:
    code = (
        "import sys, opportune.cli.edge as edge; edge.run(['--help']);"
        "print(sorted(set(sys.modules) & set(sys.argv[1:])))"
    )
    heavy = ["numpy", "numba", "opportune.engine.engine", "uvicorn", "asyncio", "http.client", "rich.console"]
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_wrong_usage_is_one_line_and_exit_code_2(opportune: Opportune) -> None:
    shown = opportune("nonsense")
    assert (shown.code, shown.out) == (2, "")
    assert shown.err == "error: No such command 'nonsense': see 'opportune --help'\n"
    shown = opportune("decide", "--count", "0")
    assert shown.code == 2
    assert shown.err == (
        "error: Invalid value for '--count': 0 is not in the range 1<=x<=200, at --count: "
        "see 'opportune decide --help'\n"
    )


def test_a_missing_folder_is_wrong_usage_and_names_the_option(opportune: Opportune, tmp_path: Path) -> None:
    shown = opportune("profile", "user_id:u1", "--data-dir", tmp_path / "none")
    assert shown.code == 2
    assert shown.err == f"error: no such data folder, saw '{tmp_path}/none', at --data-dir: check the path\n"
    shown = opportune("profile", "user_id:u1")
    assert (shown.code, shown.err) == (
        2,
        "error: which data?, at --data-dir: pass --data-dir DIR, or --to URL for a running server\n",
    )


def test_a_failure_is_one_line_and_exit_code_1(opportune: Opportune, data: Path) -> None:
    shown = opportune("profile", "user_id:nobody", "--data-dir", data)
    assert (shown.code, shown.out) == (1, "")
    assert shown.err == (
        "error: nobody is known by this identifier, saw 'user_id:nobody': "
        "write it as type:value, for example user_id:u1\n"
    )


def test_with_json_errors_are_json_too(opportune: Opportune, data: Path) -> None:
    shown = opportune("profile", "user_id:nobody", "--data-dir", data, "--json")
    assert shown.code == 1
    assert json.loads(shown.err) == {
        "code": "not_found",
        "message": "nobody is known by this identifier",
        "seen": "user_id:nobody",
        "remedy": "write it as type:value, for example user_id:u1",
    }


def test_an_interrupt_is_no_traceback(opportune: Opportune, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(edge.app, "main", interrupted)
    shown = opportune("version")
    assert shown.code == edge.INTERRUPTED
    assert shown.err == "\ninterrupted: what was acknowledged is on disk, run the same command to go on\n"


def test_a_file_that_cannot_be_written_is_one_line(opportune: Opportune, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    shown = opportune("init", tmp_path / "file" / "workspace")
    assert shown.code == 1
    assert shown.err.startswith("error: not a directory, at ")


def test_a_folder_in_use_says_how_to_reach_it(opportune: Opportune, data: Path) -> None:
    from opportune import Engine

    with Engine.open(data):
        shown = opportune("accounting", "--data-dir", data)
    assert shown.code == 1
    assert "stop the server that has it open, or talk to that server with --to URL --key KEY" in shown.err


def test_the_written_option_goes_before_the_environment(
    opportune: Opportune, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPPORTUNE_URL", "http://127.0.0.1:9")
    assert opportune("accounting", "--data-dir", data).code == 0
    shown = opportune("accounting", "--data-dir", data, "--to", "http://127.0.0.1:9")
    assert (shown.code, shown.err) == (
        2,
        "error: either a folder or a server, at --to: drop --data-dir or --to\n",
    )
