"""``opportune privacy rectify|restrict|lift|object|withdraw|rights|suppress|unsuppress``"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, when
from opportune.cli.subject import identifier_of, subject
from opportune.cli.target import open_target
from opportune.errors import InvalidRequest
from opportune.events.rights import Right

F = TypeVar("F", bound=Callable[..., Any])


def whom(function: F) -> F:
    """Who it is about, where the data is, and a sentence for the record."""
    for option in (
        options.as_json,
        options.target,
        click.option("--why", default="", help="A sentence for the record: the evidence."),
        subject,
    ):
        function = option(function)
    return function


@click.command(
    "rectify",
    cls=Examples,
    examples="""
    opportune privacy rectify city Zurich --user-id u1 --why "letter of 3 May" --data-dir data
    opportune privacy rectify phone --none --email ada@example.org --to http://127.0.0.1:8080 --key SECRET
    opportune privacy rectify city --take-back --user-id u1 --data-dir data
    """,
)
@click.argument("trait")
@click.argument("value", default="")
@click.option("--none", is_flag=True, help="There is no such thing: the trait is not known any more.")
@click.option("--take-back", is_flag=True, help="The correction ends; what was said stands again.")
@whom
def rectify(trait: str, value: str, none: bool, take_back: bool, **asked: Any) -> None:
    """Put a trait of a person right. It stands over whatever events said, and will say, about it.

    A value that reads as JSON (a number, true, a list) is taken as that.
    """
    if bool(value) + none + take_back != 1:
        raise InvalidRequest(
            "what is right?", where="VALUE", remedy="give the right value, or --none, or --take-back"
        )
    if take_back:
        _exercise("withdraw", asked, trait=trait)
    else:
        _exercise("rectify", asked, trait=trait, value=None if none else _read(value))


@click.command(
    "restrict",
    cls=Examples,
    examples="""
    opportune privacy restrict --user-id u1 --why "disputes the address" --data-dir data
    """,
)
@whom
def restrict(**asked: Any) -> None:
    """Freeze a person's data: what is known is kept and what comes is stored, and nothing is done with it."""
    _exercise("restrict", asked)


@click.command(
    "lift",
    cls=Examples,
    examples="""
    opportune privacy lift --user-id u1 --data-dir data
    """,
)
@whom
def lift(**asked: Any) -> None:
    """End a restriction."""
    _exercise("lift", asked)


@click.command(
    "object",
    cls=Examples,
    examples="""
    opportune privacy object train measure --user-id u1 --data-dir data
    """,
)
@click.argument("uses", nargs=-1, required=True)
@whom
def object_to(uses: tuple[str, ...], **asked: Any) -> None:
    """Object, for a person, to uses of their data: personalize, measure, train, share."""
    _exercise("object", asked, uses=list(uses))


@click.command(
    "withdraw",
    cls=Examples,
    examples="""
    opportune privacy withdraw train --user-id u1 --data-dir data
    """,
)
@click.argument("uses", nargs=-1, required=True)
@whom
def withdraw(uses: tuple[str, ...], **asked: Any) -> None:
    """Take objections back."""
    _exercise("withdraw", asked, uses=list(uses))


@click.command(
    "rights",
    cls=Examples,
    examples="""
    opportune privacy rights --user-id u1 --data-dir data
    """,
)
@subject
@options.target
@options.as_json
def rights(**asked: Any) -> None:
    """Show what is restricted, objected to and put right for a person."""
    identifier, target, as_json = _parts(asked)
    with open_target(*target) as opened:
        found = opened.rights(identifier)
    print_json(found) if as_json else _tell(found)


@click.command(
    "suppress",
    cls=Examples,
    examples="""
    opportune privacy suppress --user-id u1 --data-dir data
    """,
)
@subject
@options.target
@options.as_json
def suppress(**asked: Any) -> None:
    """Take in nothing about a person from now on; what is known stays. Erase with --suppress to do both."""
    _suppress(asked, lift=False)


@click.command(
    "unsuppress",
    cls=Examples,
    examples="""
    opportune privacy unsuppress --user-id u1 --data-dir data
    """,
)
@subject
@options.target
@options.as_json
def unsuppress(**asked: Any) -> None:
    """Take in again what comes about a person."""
    _suppress(asked, lift=True)


def _suppress(asked: dict[str, Any], *, lift: bool) -> None:
    identifier, target, as_json = _parts(asked)
    with open_target(*target) as opened:
        opened.suppress(identifier, lift=lift)
    if as_json:
        print_json({"identifier": identifier, "suppressed": not lift})
    else:
        click.echo(
            f"what comes about {identifier} is {'taken in again' if lift else 'not taken in any more'}"
        )


def _exercise(right: Right, asked: dict[str, Any], **about: Any) -> None:
    identifier, target, as_json = _parts(asked)
    with open_target(*target) as opened:
        found = opened.exercise(right, identifier, why=asked["why"], **about)
    print_json(found) if as_json else _tell(found)


def _parts(asked: dict[str, Any]) -> tuple[str, tuple[Path | None, str, str, Path | None], bool]:
    identifier = identifier_of(asked["user_id"], asked["email"], asked["anonymous_id"], asked["other"])
    return (
        identifier,
        (asked["data_dir"], asked["url"], asked["key"], asked["workspace"]),
        asked["as_json"],
    )


def _read(value: str) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value


def _tell(found: dict[str, Any]) -> None:
    click.echo(found["id"])
    click.echo(f"  restricted: {'yes, nothing is done with their data' if found['restricted'] else 'no'}")
    click.echo(f"  objects to: {', '.join(found['objections']) or 'nothing'}")
    for name, one in found["rectified"].items():
        if one["stands"]:
            click.echo(f"  {name} is {one['value']!r}, put right by {one['who']}, {when(one['time'])} UTC")


COMMANDS = (rectify, restrict, lift, object_to, withdraw, rights, suppress, unsuppress)
