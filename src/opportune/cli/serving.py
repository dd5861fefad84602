"""What ``serve`` and ``demo`` share: the console's mount, and the keys as they are printed at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opportune.cli.output import console

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from opportune import Engine
    from opportune.server.auth import Keys

CONSOLE = "/console"


def console_mount(engine: Engine, keys: Keys, *, shop_url: str = "") -> BaseRoute:
    """The console under :data:`CONSOLE`."""
    from starlette.routing import Mount

    from opportune.console import create_console
    from opportune.server.sessions import Sessions

    return Mount(CONSOLE, create_console(engine, Sessions(keys), shop_url=shop_url))


def announce_keys(keys: Keys, *, always: bool = False) -> None:
    """The write key; the secret key when it was made now (or ``always``, for a demo)."""
    out = console()
    out.print(f"write key   {keys.write}")
    if keys.generated or always:
        out.print(f"secret key  {keys.secret}")
    else:
        out.print("secret key  hidden, show it with 'opportune keys --secret'")
