"""``opportune doctor``"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import console, print_json, print_table
from opportune.errors import InvalidRequest


@click.command(
    "doctor",
    cls=Examples,
    examples="""
    opportune doctor --data-dir data
    opportune doctor --data-dir data --json
    """,
)
@options.data_dir
@options.as_json
def command(data_dir: Path, as_json: bool) -> None:
    """Check every byte of a data folder and say what to do about what is wrong. Changes nothing.

    Works while a server has the folder open. The exit code is 1 when there are errors.
    """
    from opportune.stores.doctor import examine

    if not data_dir.is_dir():
        raise InvalidRequest(
            "no such data folder", seen=str(data_dir), where="--data-dir", remedy="check the path"
        )
    report = examine(data_dir)
    if as_json:
        print_json({**msgspec.to_builtins(report), "sound": report.sound})
    else:
        rows = [(name.replace("_", " "), value) for name, value in _facts(msgspec.structs.asdict(report))]
        print_table(("", ""), rows)
        out = console()
        for finding in report.findings:
            style = {"error": "red", "warning": "yellow", "note": ""}[finding.severity]
            where = f", at {finding.where}" if finding.where else ""
            remedy = f": {finding.remedy}" if finding.remedy else ""
            out.print(f"{finding.severity}: {finding.what}{where}{remedy}", style=style, markup=False)
        out.print("sound" if report.sound else "DAMAGED", style="green" if report.sound else "red")
    if not report.sound:
        raise click.exceptions.Exit(1)


def _facts(report: dict[str, object]) -> list[tuple[str, object]]:
    return [(name, value) for name, value in report.items() if name != "findings"]
