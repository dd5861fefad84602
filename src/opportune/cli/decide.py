"""``opportune decide``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, print_table
from opportune.cli.target import open_target
from opportune.errors import InvalidRequest


@click.command(
    "decide",
    cls=Examples,
    examples="""
    opportune decide --data-dir data --placement home_recs --user-id u1
    opportune decide --to http://127.0.0.1:8080 --key KEY --placement product_recs --item 22423
    opportune decide --data-dir data --request '{"placement": "home_recs", "count": 3}' --json
    """,
)
@options.target
@click.option("--placement", "placements", multiple=True, help="A placement; repeat it for several.")
@click.option("--user-id", default="", help="Who is looking, when they are known.")
@click.option("--anonymous-id", default="", help="Who is looking, when they are not.")
@click.option("--session-id", default="", help="Their session.")
@click.option("--item", default="", help="The item on the page.")
@click.option("--category", default="", help="The category of the page.")
@click.option("--count", type=click.IntRange(1, 200), help="How many items.")
@click.option("--explain", is_flag=True, help="With the engineer's explanation.")
@click.option("--request", "request_json", default="", help="The whole request as JSON; options add to it.")
@options.as_json
def command(
    data_dir: Path | None,
    url: str,
    key: str,
    workspace: Path | None,
    placements: tuple[str, ...],
    user_id: str,
    anonymous_id: str,
    session_id: str,
    item: str,
    category: str,
    count: int | None,
    explain: bool,
    request_json: str,
    as_json: bool,
) -> None:
    """Ask what a person should see now."""
    request = _object(request_json) if request_json else {}
    if len(placements) > 1:
        request["placements"] = list(placements)
    elif placements:
        request["placement"] = placements[0]
    if not request.get("placement") and not request.get("placements"):
        raise InvalidRequest("for which placement?", where="--placement", remedy="for example home_recs")
    who = {"user_id": user_id, "anonymous_id": anonymous_id}
    given = {"identifiers": {**request.get("identifiers", {}), **{n: v for n, v in who.items() if v}}}
    page = {"item_id": item, "category": category}
    given["context"] = {**request.get("context", {}), **{n: v for n, v in page.items() if v}}
    others: dict[str, Any] = {"session_id": session_id, "count": count, "explain": explain}
    request |= {name: value for name, value in {**given, **others}.items() if value}
    with open_target(data_dir, url, key, workspace, warm=True) as target:
        answer = target.decide(request)
    if as_json:
        print_json(answer)
        return
    for decision in answer["decisions"]:
        _print(decision)


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InvalidRequest(
            f"not a JSON object ({error})", where="--request", remedy='for example {"placement": "home_recs"}'
        ) from error


def _print(decision: dict[str, Any]) -> None:
    rows = [
        (
            item["rank"],
            item["item_id"],
            str(item["item"].get("name", "")),
            float(item["score"]),
            "; ".join(reason["text"] for reason in item["reasons"]),
        )
        for item in decision["items"]
    ]
    print_table(("rank", "item", "name", "score", "why"), rows, title=decision["placement"])
    if decision["degraded"]:
        click.echo(f"degraded: {', '.join(decision['degraded'])}")
    click.echo(
        f"{decision['decision_id']}, {decision['took_ms'].get('total', 0.0):.2f} ms, {decision['consent']}"
    )
    if decision.get("explanation"):
        print_json(decision["explanation"])
