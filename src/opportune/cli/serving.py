"""What ``serve`` and ``demo`` share: the console's mount, and the keys as they are printed at the start."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from opportune.cli.output import console
from opportune.errors import OpportuneError

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.routing import BaseRoute

    from opportune import Engine
    from opportune.access.audit import Audit
    from opportune.server.auth import Keys
    from opportune.warehouse.reports import Reports

CONSOLE = "/console"
SLICE = 500
log = logging.getLogger("opportune.experiments")


def console_mount(
    engine: Engine,
    keys: Keys,
    *,
    shop_url: str = "",
    reports: Reports | None = None,
    audit: Audit | None = None,
    data_dir: Path | None = None,
    workspace: Path | None = None,
) -> BaseRoute:
    """The console under :data:`CONSOLE`. ``access.yaml`` of the workspace says who else may sign in."""
    from starlette.routing import Mount

    from opportune.access.sign_in import client_secret, load_access
    from opportune.console import create_console
    from opportune.server.oidc import Provider
    from opportune.server.sessions import Sessions
    from opportune.stores.likely import LikelyStore

    oidc = load_access(workspace).oidc
    provider = None if oidc is None else Provider(oidc, client_secret(oidc, workspace), engine.clock)
    console = create_console(
        engine,
        Sessions(keys, provider=provider),
        shop_url=shop_url,
        reports=reports,
        audit=audit,
        likely=None if data_dir is None else LikelyStore(data_dir),
    )
    return Mount(CONSOLE, console)


def preferences_mount(engine: Engine, keys: Keys, audit: Audit) -> BaseRoute:
    """The page of a person who has a link; see ``opportune privacy link``."""
    from starlette.routing import Mount

    from opportune.console.preferences import Preferences
    from opportune.server.preference_links import PATH, PreferenceLinks

    return Mount(PATH, Preferences(engine, PreferenceLinks(keys.secret, engine.clock), audit).app)


def announce_keys(keys: Keys, *, always: bool = False) -> None:
    """The write key; the secret key when it was made now (or ``always``, for a demo)."""
    out = console()
    out.print(f"write key   {keys.write}")
    if keys.generated or always:
        out.print(f"secret key  {keys.secret}")
    else:
        out.print("secret key  hidden, show it with 'opportune keys --secret'")


WATCH_EVERY_S = 60.0


async def watch_guardrails(reports: Reports, audit: Audit, every_s: float = WATCH_EVERY_S) -> None:
    """Stop experiments that break a guardrail, looked at every minute, as long as the server runs, and note
    it; where none has one, nothing is done. The tables catch up in slices between requests; reports are made
    in a thread."""
    import asyncio

    while True:
        await asyncio.sleep(every_s)
        if not any(experiment.guardrails for experiment in reports.engine.workspace.experiments):
            continue
        try:
            while reports.catch_up(SLICE):
                await asyncio.sleep(0)
            for experiment_id, why in await asyncio.to_thread(lambda: list(reports.breaches())):
                log.warning("stopped the experiment %s: %s", experiment_id, why)
                audit.note("guardrail", "experiment.stop", changed=True, experiment=experiment_id, why=why)
                reports.stop(experiment_id, why)
        except OpportuneError as error:
            log.warning("guardrails are not watched: %s", error)
