"""The process edge: every error becomes one line that says what, the value seen, where, and what to do.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from opportune.cli.app import app
from opportune.errors import InvalidRequest, OpportuneError

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130


def run(args: Sequence[str]) -> int:
    """Run one command; the exit code."""
    as_json = "--json" in args
    try:
        code = app.main(args=list(args), prog_name="opportune", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as shown:
        click.echo(shown.format_message())
        return WRONG_USAGE
    except click.UsageError as error:
        remedy = f"see '{error.ctx.command_path} --help'" if error.ctx else ""
        where = error.param.opts[-1] if isinstance(error, click.BadParameter) and error.param else ""
        _complain(
            {"code": "wrong_usage", "message": _usage(error), "where": where, "remedy": remedy}, as_json
        )
        return WRONG_USAGE
    except click.ClickException as error:
        _complain({"code": "failed", "message": error.format_message()}, as_json)
        return FAILED
    except OpportuneError as error:
        _complain(error.to_dict(), as_json)
        is_usage = isinstance(error, InvalidRequest) and error.where.startswith("--")
        return WRONG_USAGE if is_usage else FAILED
    except (KeyboardInterrupt, click.Abort):
        click.echo("\ninterrupted: what was acknowledged is on disk, run the same command to go on", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away (| head). Point stdout elsewhere, or the interpreter complains while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        what = f"{error.strerror or error}".lower()
        _complain({"code": "failed", "message": what, "where": str(error.filename or "")}, as_json)
        return FAILED
    return int(code) if isinstance(code, int) else 0


def _usage(error: click.UsageError) -> str:
    return " ".join(error.format_message().split()).rstrip(".")


def _complain(body: dict[str, Any], as_json: bool) -> None:
    body = {name: value for name, value in body.items() if value != ""}
    if as_json:
        click.echo(msgspec.json.encode(body), err=True)
        return
    click.echo(click.style(f"error: {one_line(body)}", fg="red"), err=True)


def one_line(body: dict[str, Any]) -> str:
    """An error body as a person reads it: what, the value seen, where, and what to do."""
    text = str(body["message"])
    if "seen" in body:
        text += f", saw {body['seen']!r}"
    if "where" in body:
        text += f", at {body['where']}"
    if "remedy" in body:
        text += f": {body['remedy']}"
    return " ".join(text.split())
