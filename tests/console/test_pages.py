"""The console over HTTP, on a real engine."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from tests.console.conftest import KEYS, NOW, Seen, item, view
from tests.demo.asgi import Client

from opportune import Engine
from opportune.access.audit import AuditLog
from opportune.access.roster import Roster
from opportune.clock import FixedClock
from opportune.console import create_console
from opportune.engine.minimising import Declared, LiveInputs, Minimisation
from opportune.identity.likely import Proposal
from opportune.recommend.rank_features import FEATURES, no_items
from opportune.recommend.rank_signals import RankSignals
from opportune.recommend.ranker import LearnedRanker
from opportune.recommend.tree_scorer import TreeScorer
from opportune.recommend.tree_text import Forest, Link
from opportune.server.auth import Keys
from opportune.server.sessions import Sessions
from opportune.stores.likely import PROPOSALS, LikelyStore

PAGES = [
    "/",
    "/events",
    "/people",
    "/identity",
    "/decisions",
    "/accounting",
    "/placements",
    "/experiments",
    "/models",
    "/minimise",
    "/anonymous",
    "/audit",
    "/access",
]


@pytest.mark.parametrize("path", [*PAGES, "/people/user_id:ada", "/decisions/x", "/dead-letters/x"])
def test_strangers_are_sent_to_the_door(visitor: Client, path: str) -> None:
    answer = visitor.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=%2F")
    as_json = visitor.get("/overview.json" if path == "/" else f"{path}.json")
    assert as_json.status_code == 401
    assert as_json.json()["code"] == "unauthorized"


def test_signing_in_and_out(visitor: Client) -> None:
    wrong = visitor.post("/login", {"key": "wk_test"})
    assert wrong.status_code == 401
    assert "this is not the secret key" in wrong.text
    answer = visitor.post("/login", {"key": " sk_test ", "next": "/people?q=ada"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/people?q=ada")
    assert "HttpOnly" in answer.headers["set-cookie"]
    page = visitor.get("/").text
    token = re.search(r'name="csrf" value="(\w+)"', page)
    assert token is not None
    assert visitor.post("/logout", {"csrf": "forged"}).status_code == 403
    assert visitor.post("/logout", {"csrf": token[1]}).status_code == 303
    assert visitor.get("/").status_code == 303


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", ""]
)
def test_signing_in_leads_nowhere_else(visitor: Client, target: str) -> None:
    answer = visitor.post("/login", {"key": KEYS.secret, "next": target})
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_one_heading_and_a_json_twin(console: Client, path: str) -> None:
    page = console.get(path)
    assert page.status_code == 200
    assert page.text.count("<h1>") == 1
    assert 'aria-current="page"' in page.text
    twin = console.get("/overview.json" if path == "/" else f"{path}.json")
    assert twin.status_code == 200
    assert twin.headers["content-type"] == "application/json"
    assert isinstance(twin.json(), dict)


def test_json_with_the_secret_key_alone(visitor: Client) -> None:
    answer = visitor.get("/accounting.json", headers={"authorization": f"Bearer {KEYS.secret}"})
    assert answer.json()["balanced"] is True


def test_overview_counts(console: Client) -> None:
    data = console.get("/overview.json").json()
    assert data["accounting"]["total"]["received"] == 12 + 6 * 4 + 5 + 1 + 1
    assert data["dead_letters"]["open"] == 1
    assert data["decisions_per_s"] == 0.1
    assert data["placements"] == {"home_recs": 1}
    assert "0.1" in console.get("/?rows=1").text


def test_live_events_newest_first_and_only_what_is_new(console: Client, seen: Seen) -> None:
    data = console.get("/events.json").json()
    sequence = [event["seq"] for event in data["events"]]
    assert sequence == sorted(sequence, reverse=True)
    assert data["events"][0]["name"] == "product_added"
    assert data["newest"] == sequence[0]
    seen.engine.ingest([{"type": "page", "anonymousId": "new"}], source="web")
    rows = console.get(f"/events?rows=1&after={data['newest']}").text
    assert rows.count("<tr ") == 1
    assert "anonymous_id:new" in rows
    assert console.get("/events?after=x").status_code == 400


def test_filtering_events(console: Client) -> None:
    found = console.get("/events.json?q=ada-browser+viewed").json()["events"]
    assert len(found) == 2
    assert {event["items"][0]["item_id"] for event in found} == {"i1", "i3"}
    assert "Nothing matches" in console.get("/events?q=zebra").text


def test_a_person_is_found_by_any_identifier(console: Client) -> None:
    assert console.get("/people.json?q=ada-browser").json()["found"] == ["anonymous_id:ada-browser"]
    assert console.get("/people.json?q=user_id:ada").json()["found"] == ["user_id:ada"]
    assert console.get("/people.json?q=nobody").json()["found"] == []
    assert "Nobody is known by this" in console.get("/people?q=nobody").text


def test_a_person_with_the_evidence(console: Client) -> None:
    data = console.get("/people/anonymous_id:ada-browser.json").json()
    assert data["id"] == "user_id:ada"
    assert {i["identifier"] for i in data["identifiers"]} == {"user_id:ada", "anonymous_id:ada-browser"}
    assert [link["rule"] for link in data["links"]] == ["identify"]
    assert [link["reason"] for link in data["refused"]] == ["limit:user_id"]
    page = console.get("/people/anonymous_id:ada-browser").text
    assert "limit:user_id" in page
    assert 'class="graph"' in page
    assert "red mug" in page
    assert "Thing &lt;1&gt;" in page
    assert "<h1>Ada &lt;b&gt;</h1>" in page
    assert "affinity_category" in page


def test_a_persons_own_models_are_on_their_page(tmp_path: Path) -> None:
    (tmp_path / "features.yaml").write_text(
        "features:\n"
        "  - {name: leaning, event: product_viewed, fold: preference, value: category, half_life: 90d}\n"
    )
    clock = FixedClock(NOW)
    with Engine.open(tmp_path / "data", workspace=tmp_path, clock=clock) as engine:
        engine.ingest([item(n) for n in range(4)], dialect="catalog")
        engine.ingest([view("ada", n, f"m{n}") for n in (1, 2, 3)])
        vectors = np.array([[-1, 0], [1, 0], [0, 1], [1, 0]], np.float32)
        engine._world.ranker = LearnedRanker(
            "ranker/v7",
            TreeScorer(Forest(tuple(FEATURES), (), Link("identity"))),
            RankSignals(16, 16),
            no_items()._replace(vector=vectors),
        )
        console = Client(create_console(engine, Sessions(KEYS, clock), shop_url="/"))
        console.post("/login", {"key": KEYS.secret})
        page = console.get("/people/anonymous_id:ada").text
    # Mugs: two of three views on a prior of 0.5 to 4.5; items 1 and 3 point one way: 2 / (2 + 1)
    assert '<th scope="row">Mugs</th><td class="num">0.31</td>' in page
    assert page.count('<th scope="row">Thing &lt;1&gt;</th><td class="num">0.67</td>') == 1
    assert page.count('<th scope="row">Thing &lt;0&gt;</th><td class="num">-0.67</td>') == 1
    assert "From 3 items of theirs" in page


def test_nobody_is_a_page_and_a_json_error(console: Client) -> None:
    page = console.get("/people/user_id:nobody")
    assert page.status_code == 404
    assert "nobody is known by this identifier" in page.text
    assert console.get("/people/user_id:nobody.json").json()["code"] == "not_found"
    assert console.get("/nowhere").status_code == 404
    assert console.get("/nowhere.json").json()["message"] == "nothing is at this address"


def test_a_decision_with_reasons_waterfall_and_outcomes(console: Client, seen: Seen) -> None:
    data = console.get(f"/decisions/{seen.decision_id}.json").json()
    shown = [c for c in data["explanation"]["candidates"] if c["shown_at"]]
    assert all(c["reason"] for c in shown)
    assert [o["kind"] for o in data["outcomes"]] == ["cart"]
    page = console.get(f"/decisions/{seen.decision_id}").text
    assert "Where the time went" in page
    for stage in data["explanation"]["waterfall"]:
        if "start_ms" in stage:
            assert f'class="depth-0">{stage["stage"]}</th>' in page
    assert shown[0]["reason"].replace("<", "&lt;").replace(">", "&gt;") in page
    assert '<span class="badge good">cart</span>' in page
    assert console.get("/decisions/ffffffffffffffffffffffff").status_code == 404


def test_decisions_of_a_placement(console: Client, seen: Seen) -> None:
    assert len(console.get("/decisions.json?placement=home_recs").json()["decisions"]) == 1
    assert console.get("/decisions.json?placement=cart_upsell").json()["decisions"] == []
    assert seen.decision_id in console.get("/decisions").text


def test_the_books_agree_by_source(console: Client) -> None:
    page = console.get("/accounting").text
    assert "the sums agree" in page
    assert '<th scope="row">feed</th><td class="num">12</td>' in page
    assert "missing field 1" in page


def csrf(console: Client, path: str) -> str:
    token = re.search(r'name="csrf" value="(\w+)"', console.get(path).text)
    assert token is not None
    return token[1]


def test_a_dead_letter_is_fixed_and_stored(console: Client, seen: Seen) -> None:
    address = f"/dead-letters/{seen.letter_id}"
    page = console.get(address).text
    assert "&lt;i&gt;free&lt;/i&gt;" in page
    assert "<i>free" not in page
    token = csrf(console, address)
    assert console.post(f"{address}/replay", {"csrf": "forged"}).status_code == 403

    again = console.post(f"{address}/replay", {"csrf": token, "raw": '{"type": "track", "userId": "ada"}'})
    assert again.headers["location"] == f"{address}?said=rejected"
    assert "refused again" in console.get(again.headers["location"]).text
    assert console.get(f"{address}.json").json()["attempt"] == 1

    fixed = (
        '{"type": "track", "userId": "ada", "event": "Product Viewed", "properties": {"product_id": "i2"}}'
    )
    done = console.post(f"{address}/replay", {"csrf": token, "raw": fixed})
    assert done.headers["location"] == "/accounting?said=stored"
    assert "The event is stored now." in console.get(done.headers["location"]).text
    assert console.get(address).status_code == 404
    books = console.get("/accounting.json").json()
    assert books["balanced"] is True
    assert books["total"]["rejected"] == 0
    assert books["total"]["replayed"] == 1


def test_a_dead_letter_is_discarded(console: Client, seen: Seen) -> None:
    address = f"/dead-letters/{seen.letter_id}"
    done = console.post(f"{address}/discard", {"csrf": csrf(console, address)})
    assert done.headers["location"] == "/accounting?said=discarded"
    assert console.get("/accounting.json").json()["dead_letters"]["summary"]["resolved"] == {"discarded": 1}


def test_placements_as_they_are_in_force(console: Client, seen: Seen) -> None:
    names = [p["name"] for p in console.get("/placements.json").json()["placements"]]
    assert names == [p.name for p in seen.engine.workspace.placements]
    page = console.get("/placements").text
    assert "Candidate sources by weight" in page


def test_first_view_weighs_less_than_60_kb_and_nothing_comes_from_elsewhere(console: Client) -> None:
    for path in PAGES:
        page = console.get(path, headers={"accept-encoding": "gzip"})
        weight = page.num_bytes_downloaded
        for part in re.findall(r'(?:src|rel="stylesheet" href|rel="icon" href)="([^"]+)"', page.text):
            assert part.startswith("/static/")
            asset = console.get(part, headers={"accept-encoding": "gzip"})
            assert asset.status_code == 200
            weight += asset.num_bytes_downloaded
        assert 5_000 < weight < 60_000
        assert not re.findall(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", page.text)
        assert "unsafe" not in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-store"


def test_an_empty_engine_has_friendly_pages(tmp_path_factory: pytest.TempPathFactory) -> None:
    from opportune import Engine
    from opportune.clock import FixedClock

    with Engine.open(tmp_path_factory.mktemp("empty"), clock=FixedClock(NOW)) as engine:
        client = Client(create_console(engine, Sessions(KEYS, engine.clock)))
        client.post("/login", {"key": KEYS.secret})
        for path, words in {
            "/": "No decision yet",
            "/events": "No event yet",
            "/people": "Nobody yet",
            "/decisions": "No decision yet",
            "/accounting": "No dead letter",
        }.items():
            page = client.get(path)
            assert page.status_code == 200
            assert words in page.text


def test_mounted_elsewhere_every_link_follows(seen: Seen) -> None:
    client = Client(create_console(seen.engine, Sessions(KEYS, seen.clock)), root_path="/console")
    client.post("/console/login", {"key": KEYS.secret})
    page = client.get("/console/").text
    links = re.findall(r'(?:href|src|action)="(/[^"]*)"', page)
    assert links
    assert all(link.startswith("/console/") for link in links)


def token_of(page: str) -> str:
    found = re.search(r'name="csrf" value="(\w+)"', page)
    assert found is not None
    return found[1]


def test_people_are_joined_and_taken_apart(console: Client, seen: Seen) -> None:
    pair = {"a": "user_id:ada", "b": "anonymous_id:a1"}
    page = console.get("/identity?a=user_id:ada&b=anonymous_id:a1").text
    assert "Two people" in page
    assert "limit:user_id" in page, "the second login on one browser waits for review"
    form = {**pair, "csrf": token_of(page), "action": "merge", "why": "asked <by> phone"}
    assert console.post("/identity", {**form, "csrf": "forged"}).status_code == 403
    assert console.post("/identity", {**form, "action": "eat"}).status_code == 400
    answer = console.post("/identity", form)
    assert answer.headers["location"].endswith("said=joined")
    page = console.get(answer.headers["location"]).text
    assert "They are one person now." in page
    assert "asked &lt;by&gt; phone" in page
    assert console.get("/people/anonymous_id:a1.json").json()["id"] == "user_id:ada"
    seen.clock.advance(1_000)
    apart = console.post("/identity", {**form, "action": "unmerge"})
    assert apart.headers["location"].endswith("said=apart")
    assert console.get("/people/anonymous_id:a1.json").json()["id"] == "anonymous_id:a1"


def test_rights_are_exercised_on_the_persons_page(console: Client, seen: Seen) -> None:
    address = "/people/user_id:ada"
    page = console.get(address).text
    assert "Nothing is restricted and nobody objects." in page
    form = {"identifier": "user_id:ada", "csrf": token_of(page)}
    assert console.post("/rights", {**form, "right": "restrict", "csrf": "forged"}).status_code == 403
    assert console.post("/rights", {**form, "right": "eat"}).status_code == 400
    for right in ("restrict", "object train", "rectify"):
        seen.clock.advance(1_000)
        answer = console.post(
            "/rights", {**form, "right": right, "trait": "plan", "value": "<tin>", "why": "by letter"}
        )
        assert answer.headers["location"].endswith("/people/user_id:ada?said=noted")
    page = console.get(address).text
    assert "Nothing is done with what is known" in page
    assert "&lt;tin&gt;" in page
    assert "No objection to train" in page
    known = console.get(f"{address}.json").json()
    assert known["traits"]["plan"]["value"] == "<tin>"
    seen.clock.advance(1_000)
    console.post("/rights", {**form, "right": "lift"})
    assert console.get(f"{address}.json").json()["consent"]["restricted"] is False


def test_a_review_is_decided(console: Client, seen: Seen) -> None:
    (review,) = console.get("/identity.json").json()["reviews"]
    assert (review["a"], review["b"], review["reason"]) == (
        "user_id:grace", "anonymous_id:ada-browser", "limit:user_id",
    )  # fmt: skip
    token = token_of(console.get("/identity").text)
    seen.clock.advance(1_000)
    console.post("/identity", {"a": review["a"], "b": review["b"], "action": "confirm", "csrf": token})
    assert console.get("/identity.json").json()["reviews"] == []
    assert console.get("/people/user_id:grace.json").json()["id"] == "user_id:ada"


def test_keys_are_made_and_revoked(seen: Seen, tmp_path: Path) -> None:
    keys = Keys(write="wk", secret="sk", roster=Roster(tmp_path, seen.clock))
    audit = AuditLog(tmp_path, seen.clock)
    console = Client(create_console(seen.engine, Sessions(keys, seen.clock, {}), audit=audit))
    console.post("/login", {"key": "sk"})
    token = token_of(console.get("/access").text)
    page = console.post("/access", {"csrf": token, "name": "bi", "role": "viewer", "days": "30"}).text
    made = re.search(r"ok_[0-9a-f]{8}_[\w-]+", page)
    assert made is not None
    assert made[0] not in console.get("/access").text
    own = {"authorization": f"Bearer {made[0]}"}
    visitor = Client(create_console(seen.engine, Sessions(keys, seen.clock, {})))
    assert visitor.get("/overview.json", headers=own).status_code == 200
    assert visitor.get("/people.json", headers=own).json()["code"] == "forbidden"
    key_id = made[0].split("_")[1]
    assert console.post(f"/access/{key_id}/revoke", {"csrf": token}).status_code == 303
    assert visitor.get("/overview.json", headers=own).json()["message"] == "this key is revoked"
    assert console.post("/access", {"csrf": token, "role": "viewer", "days": "0"}).status_code == 400
    seen_log = console.get("/audit").text
    assert "the chain holds" in seen_log
    assert "key.revoked" in seen_log


def test_signing_in_by_name(seen: Seen, tmp_path: Path) -> None:
    roster = Roster(tmp_path, seen.clock)
    roster.set_user("ada", "viewer", "a sentence nobody guesses")
    keys = Keys(write="wk", secret="sk", roster=roster)
    visitor = Client(create_console(seen.engine, Sessions(keys, seen.clock, {})))
    assert "Password, or the secret key" in visitor.get("/login").text
    wrong = visitor.post("/login", {"name": "ada", "key": "wrong"})
    assert (wrong.status_code, "do not belong together" in wrong.text) == (401, True)
    assert visitor.post("/login", {"name": "Ada", "key": "a sentence nobody guesses"}).status_code == 303
    page = visitor.get("/").text
    assert "Placements" in page
    assert "/people" not in page
    assert "ada-browser" not in page
    refused = visitor.get("/people")
    assert (refused.status_code, "this needs the scope people" in refused.text) == (403, True)


def test_likely_pairs_are_shown_with_what_speaks_for_them(seen: Seen, tmp_path: Path) -> None:
    steps = [
        {"column": "", "level": "two people at random", "bits": -10.0, "sum": -10.0},
        {"column": "name", "left": "ada", "right": "ada", "level": "exact", "bits": 14.0, "sum": 4.0},
        {"column": "city", "left": "hull", "right": "york", "level": "different", "bits": -1.5, "sum": 2.5},
    ]
    store = LikelyStore(tmp_path)
    store.save(PROPOSALS, [Proposal("user_id:ada", "anonymous_id:a1", 2.5, 0.97, steps)])
    console = Client(create_console(seen.engine, Sessions(KEYS, seen.clock, {}), likely=store))
    console.post("/login", {"key": KEYS.secret})
    page = console.get("/identity").text
    assert "Perhaps the same person" in page
    assert "97.0 %" in page
    assert "+14.0" in page
    assert "-1.5" in page
    (pair,) = console.get("/identity.json").json()["likely"]
    assert pair["good_for"] == ["review", "rank"]
    form = {"a": pair["a"], "b": pair["b"], "csrf": token_of(page), "action": "reject"}
    assert console.post("/identity", form).headers["location"].endswith("said=apart")
    assert console.get("/identity.json").json()["likely"] == []
    seen.clock.advance(1_000)
    console.post("/identity", {**form, "action": "merge"})
    assert console.get("/people/anonymous_id:a1.json").json()["id"] == "user_id:ada"


def test_the_models_and_what_the_shadow_found(console: Client, seen: Seen) -> None:
    assert "Train one: opportune train" in console.get("/models").text
    seen.engine.models = lambda: [  # type: ignore[method-assign]  # the page is given what models there are
        {
            "kind": "ranker",
            "live": None,
            "versions": [
                {
                    "version": "r1-1", "state": "shadow", "created": NOW, "rows": 1200,
                    "measured": {"ranked mrr20": 31.5},
                    "shadow": {
                        "version": "r1-1", "against": "blend", "offered": 40, "compared": 10, "failed": 1,
                        "last_failure": "ValueError <x>", "overlap": 0.755, "same_first": 0.5,
                        "rank_correlation": 0.25, "score_drift": None, "shadow_us": 80.0, "live_us": 70.0,
                    },
                }
            ],
        }
    ]  # fmt: skip
    page = console.get("/models").text
    for text in (
        "r1-1 beside blend",
        "10 of 40, 1 failed: ValueError &lt;x&gt;",
        "75.5 %",
        "0.250",
        "unknown",
    ):
        assert text in page, text
    assert console.get("/models.json").json()["models"][0]["versions"][0]["shadow"]["compared"] == 10


def test_what_is_kept_and_what_reads_it(console: Client, seen: Seen) -> None:
    told = console.get("/minimise.json").json()
    assert told["unread"] == sum(not one["read_by"] for one in told["declared"]) > 0
    assert "No model is live" in console.get("/minimise").text
    gain = {"idle_days": 0.75, "spend <30d>": 0.25, "views": 0.0}
    seen.engine.minimisation = lambda: Minimisation(  # type: ignore[method-assign]  # a report with a model in it
        (
            Declared("feature", "views", (), (), 0.0),
            Declared("feature", "idle", ("score buy",), ("idle_hours",), 0.75),
            Declared("trait", "city", ()),
        ),
        (LiveInputs("buy", "b1", tuple(gain), ("idle_days", "spend <30d>"), ("price",), gain),),
    )
    page = console.get("/minimise").text
    for text in (
        "What buy gains from, share of the gain", "75.0", "spend &lt;30d&gt;", "answers the same without 1",
        "added nothing that is sure: price", "score buy", "given to none", "idle_hours",
    ):  # fmt: skip
        assert text in page, text
    assert console.get("/minimise.json").json()["no_gain"] == ["views"]
