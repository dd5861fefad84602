"""``opportune demo``"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import console
from opportune.cli.serving import CONSOLE, announce_keys, console_mount, preferences_mount
from opportune.cli.target import open_engine
from opportune.errors import InvalidRequest

if TYPE_CHECKING:
    import asyncio

    from starlette.routing import Mount

    from opportune import Engine
    from opportune.clock import Millis
    from opportune.demo.retail import Retail

FOLDER = Path(".demo")
SHIPPED = "online-retail"
_BAD_ROWS_SHOWN = 5


@click.command(
    "demo",
    cls=Examples,
    examples="""
    opportune demo
    opportune demo --port 9000 --fresh
    opportune demo --data invoices.csv
    """,
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"The data folder; one under ./{FOLDER} by default.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65_535), help="0 takes a free one."
)
@click.option(
    "--data",
    "csv",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Your own invoices, a CSV file with the columns of Online Retail.",
)
@click.option("--encoding", default="utf-8", show_default=True, help="Of that file.")
@options.workspace
@click.option("--no-visitors", is_flag=True, help="No simulated shoppers; an empty shop but for you.")
@click.option("--fresh", is_flag=True, help="Forget the data folder and start again.")
@click.option("--open", "opens", is_flag=True, help="Open the shop in the browser.")
def command(
    data_dir: Path | None,
    host: str,
    port: int,
    csv: Path | None,
    encoding: str,
    workspace: Path | None,
    no_visitors: bool,
    fresh: bool,
    opens: bool,
) -> None:
    """Open a shop with real products, its year of orders, and shoppers; every page re-ranks as you look.

    The first start opens the shop at once and learns its year of orders meanwhile; interrupted, it goes on.
    """
    import asyncio

    from opportune.access.audit import AuditLog
    from opportune.demo.load import is_loaded
    from opportune.demo.streaming import load_catalogue
    from opportune.server.auth import load_keys
    from opportune.server.logs import configure
    from opportune.server.run import serve
    from opportune.warehouse.reports import Reports

    if workspace is None:
        workspace = Path(str(files("opportune.demo") / "workspace"))
    folder = data_dir or FOLDER / (csv.stem if csv else SHIPPED)
    if fresh:
        forget(folder)
    retail = _retail(csv, encoding)
    configure(level="WARNING")
    with open_engine(folder, workspace, create=True, warm=True) as engine:
        now = engine.clock()
        is_old = is_loaded(engine, retail)
        if not is_old:
            load_catalogue(engine, retail, now)
        keys = load_keys(folder)
        audit = AuditLog(folder)
        reports = Reports.of(engine, folder)
        mounts = [
            console_mount(engine, keys, shop_url="/", reports=reports, audit=audit, data_dir=folder),
            preferences_mount(engine, keys, audit),
            _shop(engine, keys.write, retail, own_data=bool(csv)),
        ]
        crowd: list[subprocess.Popen[bytes]] = []
        tasks: list[asyncio.Task[None]] = []

        def invite(address: str) -> None:
            if not no_visitors:
                crowd.append(_visitors(address, keys.write, csv))

        async def fill(address: str) -> None:
            await _load_history(engine, retail, now)
            invite(address)

        def announce(address: str) -> None:
            out = console()
            out.print()
            out.print(f"shop        {address}/", style="bold")
            out.print(f"console     {address}{CONSOLE}/", style="bold")
            announce_keys(keys, always=True)
            out.print("Ctrl-C stops; what happened is kept and the next start is quick")
            if is_old:
                invite(address)
            else:
                tasks.append(asyncio.get_running_loop().create_task(fill(address)))
            if opens:
                click.launch(f"{address}/")

        try:
            serve(engine, host, port, keys=keys, extra_mounts=mounts, announce=announce, audit=audit)
        finally:
            audit.close()
            reports.close()
            for process in crowd:
                process.terminate()
                process.wait()


def _visitors(address: str, write_key: str, csv: Path | None) -> subprocess.Popen[bytes]:
    """Simulated shoppers in a process of their own: they come over HTTP, as people do."""
    arguments = ["--url", address, "--write-key", write_key]
    if csv is not None:
        arguments += ["--data", str(csv)]
    return subprocess.Popen(
        [sys.executable, "-m", "opportune.demo.visitors", *arguments], stderr=subprocess.DEVNULL
    )


def forget(folder: Path) -> None:
    """Remove a data folder. Refuses to remove what does not look like one."""
    from opportune.stores.folder import FORMAT_FILE

    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / FORMAT_FILE).is_file():
        raise InvalidRequest(
            "not a data folder, so it is left alone",
            seen=str(folder),
            where="--fresh",
            remedy="remove it yourself",
        )
    shutil.rmtree(folder)


def _retail(csv: Path | None, encoding: str) -> Retail:
    if csv is None:
        from opportune.demo.packed import shipped

        return shipped()
    from opportune.demo.own_csv import read_csv

    bad: list[tuple[int, str]] = []
    retail = read_csv(csv, lambda line, reason: bad.append((line, reason)), encoding=encoding)
    for line, reason in bad[:_BAD_ROWS_SHOWN]:
        click.echo(f"{csv} line {line}: {reason}", err=True)
    if len(bad) > _BAD_ROWS_SHOWN:
        click.echo(f"{csv}: {len(bad) - _BAD_ROWS_SHOWN:,} more rows were left out", err=True)
    return retail


async def _load_history(engine: Engine, retail: Retail, now: Millis) -> None:
    """The year of orders, while the shop is open: it takes half a minute, and nobody likes to wait."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from opportune.demo.load import n_events
    from opportune.demo.streaming import load_history

    shown = console(stderr=True)
    started = time.monotonic()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        console=shown,
        disable=not shown.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("learning a year of orders", total=n_events(retail) - len(retail.codes))
        await load_history(engine, retail, now, on_progress=lambda done: bar.update(task, completed=done))
    console().print(f"learnt {retail.summary()} in {time.monotonic() - started:.0f} s")


def _shop(engine: Engine, write_key: str, retail: Retail, *, own_data: bool) -> Mount:
    from starlette.routing import Mount

    from opportune.demo.personas import personas, popularity
    from opportune.demo.storefront import create_storefront

    shop = create_storefront(
        engine,
        write_key,
        popularity=popularity(retail),
        personas=personas(retail),
        console_url=f"{CONSOLE}/",
        own_data=own_data,
    )
    return Mount("/", shop)
