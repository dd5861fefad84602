"""``opportune identity``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, print_table, when
from opportune.cli.target import open_target

if TYPE_CHECKING:
    from opportune.identity.corrections import Action


@click.group("identity")
def command() -> None:
    """Join people and take them apart by hand, and decide what waits for review."""


def _pair(function: Any) -> Any:
    for option in (
        options.as_json,
        options.target,
        click.option("--why", default="", help="A sentence for the record."),
        click.argument("other", metavar="TYPE:VALUE"),
        click.argument("one", metavar="TYPE:VALUE"),
    ):
        function = option(function)
    return function


@command.command(
    "merge",
    cls=Examples,
    examples="""
    opportune identity merge user_id:u1 email:ada@example.org --data-dir data --why 'asked by phone'
    opportune identity merge user_id:u1 anonymous_id:a1 --to http://127.0.0.1:8080 --key SECRET
    """,
)
@_pair
def merge(one: str, other: str, why: str, as_json: bool, **target: Any) -> None:
    """Join two identifiers into one person. A guard may hold the link back for review."""
    _relink(one, other, "merge", why, as_json, **target)


@command.command(
    "unmerge",
    cls=Examples,
    examples="opportune identity unmerge user_id:u1 anonymous_id:a1 --data-dir data",
)
@_pair
def unmerge(one: str, other: str, why: str, as_json: bool, **target: Any) -> None:
    """Take two identifiers apart, whatever events say later. Also rejects a link that waits for review."""
    _relink(one, other, "unmerge", why, as_json, **target)


@command.command(
    "accept",
    cls=Examples,
    examples="opportune identity accept user_id:u1 user_id:old --data-dir data --why 'one person'",
)
@_pair
def accept(one: str, other: str, why: str, as_json: bool, **target: Any) -> None:
    """Join two identifiers although a guard refuses: two logins of one person, for example."""
    _relink(one, other, "confirm", why, as_json, **target)


@command.command(
    "reject", cls=Examples, examples="opportune identity reject user_id:u1 user_id:u2 --data-dir data"
)
@_pair
def reject(one: str, other: str, why: str, as_json: bool, **target: Any) -> None:
    """Never join two identifiers, whether or not anything does now."""
    _relink(one, other, "reject", why, as_json, **target)


@command.command(
    "train",
    cls=Examples,
    examples="""
    opportune identity train --data-dir data --workspace workspace
    opportune identity train --data-dir data --sample 20000 --json
    """,
)
@options.data_dir
@options.workspace
@click.option(
    "--sample",
    default=50_000,
    show_default=True,
    type=click.IntRange(2),
    help="People at most.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed trains the same weights.")
@options.as_json
def train(data_dir: Path, workspace: Path | None, sample: int, seed: int, as_json: bool) -> None:
    """Learn, without labels, what it says that two people agree on a trait. Needs the `identity` extra.

    Reads a data folder, also while a server has it open. 'opportune identity propose' uses the weights.
    """
    import random

    from opportune.identity.matching.proposals import comparable
    from opportune.identity.matching.records import Records
    from opportune.identity.matching.training import train as learn
    from opportune.stores.likely import MODEL, LikelyStore

    rows = [row for _, row in _people(data_dir, workspace)]
    if len(rows) > sample:
        rows = random.Random(seed).sample(rows, sample)
    model = learn(Records.of(comparable(rows), rows), seed=seed)
    LikelyStore(data_dir).save(MODEL, model)
    if as_json:
        print_json({"trained_on": model.trained_on, "prior": model.prior, "weights": model.table()})
        return
    print_table(
        ("column", "agreement", "of one person", "of two", "bits"),
        [(w["column"], w["level"], w["m"], w["u"], w["weight"]) for w in model.table()],
        title=f"learnt from {model.trained_on:,} people",
    )


@command.command(
    "propose",
    cls=Examples,
    examples="""
    opportune identity propose --data-dir data --workspace workspace
    opportune identity propose --data-dir data --for send --json
    """,
)
@options.data_dir
@options.workspace
@click.option("--for", "use", default="review", show_default=True, help="A use in identity.yaml.")
@click.option(
    "--most", default=500, show_default=True, type=click.IntRange(1, 10_000), help="Proposals at most."
)
@options.as_json
def propose(data_dir: Path, workspace: Path | None, use: str, most: int, as_json: bool) -> None:
    """List pairs of people who are likely one, by the weights of 'identity train'; the console shows them.

    Nothing is joined: 'merge' or 'reject' decides, or the console's page of identities.
    """
    from opportune.engine.workspace import load_workspace
    from opportune.errors import InvalidRequest
    from opportune.identity.matching.model import MatchModel
    from opportune.identity.matching.proposals import propose as find
    from opportune.stores.likely import MODEL, PROPOSALS, LikelyStore

    rules = load_workspace(workspace).identity
    if use not in rules.likely:
        raise InvalidRequest(
            "no such use", seen=use, where="--for", remedy=f"one of {', '.join(rules.likely)}"
        )
    store = LikelyStore(data_dir)
    model = store.read(MODEL, MatchModel)
    if model is None:
        raise InvalidRequest(
            "no weights yet", where=str(store.folder), remedy="run 'opportune identity train' first"
        )
    found = find(model, list(_people(data_dir, workspace)), lowest=rules.likely[use], most=most)
    store.save(PROPOSALS, found)
    if as_json:
        print_json({"proposals": found})
        return
    rows = [(p.a, p.b, p.probability, p.weight, ", ".join(rules.good_for(p.probability))) for p in found]
    print_table(("one", "other", "probability", "bits", "good enough for"), rows)


def _people(data_dir: Path, workspace: Path | None) -> list[tuple[str, dict[str, str]]]:
    from opportune.engine.alike import people
    from opportune.engine.history import read_state
    from opportune.engine.workspace import load_workspace
    from opportune.stores.disk import RealDisk

    definitions = load_workspace(workspace)
    state, _ = read_state(RealDisk(data_dir, read_only=True), definitions)
    return list(people(state, definitions.fence.hidden("traits", "matching")))


@command.command("group", cls=Examples, examples="opportune identity group account:acme --data-dir data")
@click.argument("identifier", metavar="TYPE:VALUE")
@options.target
@options.as_json
def group(
    identifier: str, data_dir: Path | None, url: str, key: str, workspace: Path | None, as_json: bool
) -> None:
    """Show an account or a household: its people, and what is known of them together."""
    with open_target(data_dir, url, key, workspace) as target:
        found = target.group(identifier)
    if as_json:
        print_json(found)
        return
    print_table(("person", "identifiers"), [(p["id"], ", ".join(p["identifiers"])) for p in found["people"]])
    plain = {n: v for n, v in found["features"].items() if isinstance(v, int | float | str) and v}
    print_table(("feature", "together"), sorted(plain.items()))


@command.command(
    "reviews", cls=Examples, examples="opportune identity reviews --data-dir data --workspace workspace"
)
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 1_000), help="Links that are shown."
)
@options.target
@options.as_json
def reviews(
    limit: int, data_dir: Path | None, url: str, key: str, workspace: Path | None, as_json: bool
) -> None:
    """List the links that a guard refused, with why; 'accept' or 'unmerge' decides."""
    with open_target(data_dir, url, key, workspace) as target:
        found = target.reviews(limit)
    if as_json:
        print_json(found)
        return
    rows = [
        (r["a"], r["b"], r["reason"], r["rule"], r["count"], r["source"], when(r["noticed"]))
        for r in found["reviews"]
    ]
    print_table(("one", "other", "held back by", "rule", "events", "source", "noticed (UTC)"), rows)


@command.command("corrections", cls=Examples, examples="opportune identity corrections --data-dir data")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 500), help="Corrections that are shown."
)
@options.target
@options.as_json
def corrections(
    limit: int, data_dir: Path | None, url: str, key: str, workspace: Path | None, as_json: bool
) -> None:
    """List what was joined and taken apart by hand, by whom and why."""
    with open_target(data_dir, url, key, workspace) as target:
        found = target.corrections(limit)
    if as_json:
        print_json({"corrections": found})
        return
    rows = [(when(c["time"]), c["action"], c["a"], c["b"], c["who"], c["why"]) for c in found]
    print_table(("when (UTC)", "what", "one", "other", "who", "why"), rows)


def _relink(
    one: str,
    other: str,
    action: Action,
    why: str,
    as_json: bool,
    *,
    data_dir: Path | None,
    url: str,
    key: str,
    workspace: Path | None,
) -> None:
    with open_target(data_dir, url, key, workspace) as target:
        found = target.relink(one, other, action, why)
    if data_dir is not None and not url:
        from opportune.access.audit import AuditLog

        AuditLog(data_dir).note("command line", f"identity.{action}", [one, other], changed=True)
    if as_json:
        print_json(found)
        return
    if found["together"]:
        through = " and ".join(f"{link['a']} with {link['b']}" for link in found["path"])
        click.echo(f"one person, {found['id']}" + (f": {through}" if through else ""))
    else:
        click.echo("two people" + (f": held back by {found['refused']}" if found["refused"] else ""))
