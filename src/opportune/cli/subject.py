"""Options that say whom a command is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from opportune.errors import InvalidRequest

F = TypeVar("F", bound=Callable[..., Any])


def subject(function: F) -> F:
    """Who: one option per common type of identifier, and ``--id`` for any."""
    for option in (
        click.option("--id", "other", default="", metavar="TYPE:VALUE", help="Any identifier."),
        click.option("--anonymous-id", default="", help="The person of this browser."),
        click.option("--email", default="", help="The person with this e-mail address."),
        click.option("--user-id", default="", help="The person with this login."),
    ):
        function = option(function)
    return function


def identifier_of(user_id: str, email: str, anonymous_id: str, other: str) -> str:
    """The one identifier that was given. Raises :class:`InvalidRequest`."""
    given = [
        f"{kind}:{value}"
        for kind, value in (("user_id", user_id), ("email", email), ("anonymous_id", anonymous_id))
        if value
    ]
    if other:
        given.append(other)
    if len(given) != 1:
        raise InvalidRequest(
            "one identifier, please",
            seen=given,
            where="--user-id",
            remedy="pass one of --user-id, --email, --anonymous-id, --id TYPE:VALUE",
        )
    return given[0]
