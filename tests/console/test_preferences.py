"""The page of a person who has a link: what they see, what they change, and that nobody else can."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape
from tests.console.conftest import NOW, item, view
from tests.demo.asgi import Client

from opportune import Engine
from opportune.access.audit import AuditLog
from opportune.clock import DAY, FixedClock
from opportune.console.forms import FORM_BYTES
from opportune.console.preferences import Preferences
from opportune.errors import InvalidRequest, NotFound, Unauthorized
from opportune.server.preference_links import PATH, PreferenceLinks


class Centre:
    """The engine, the page, and a link to it."""

    def __init__(self, folder: Path) -> None:
        self.clock = FixedClock(NOW)
        self.engine = Engine.open(folder / "data", clock=self.clock)
        self.audit = AuditLog(folder / "log", self.clock)
        self.links = PreferenceLinks("sk_test", self.clock)
        self.client = Client(Preferences(self.engine, self.links, self.audit).app)
        self.engine.ingest([item(n) for n in range(12)], source="feed", dialect="catalog")
        for person in range(4):
            self.engine.ingest([view(f"a{person}", n, f"m{person}-{n}") for n in range(6)], source="web")
        self.engine.ingest(
            [{"type": "identify", "userId": "ada-l", "anonymousId": "a1", "messageId": "i1"}], source="web"
        )
        self.decide()
        self.path = self.links.make("user_id:ada-l").removeprefix(PATH)

    def decide(self) -> Any:
        self.clock.advance(1_000)
        asked = {"placement": "home_recs", "identifiers": {"user_id": "ada-l"}}
        return self.engine.decide(asked).decisions[0]

    def post(self, **form: str) -> Any:
        self.clock.advance(1_000)
        return self.client.post(self.path, form)


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    made = Centre(tmp_path)
    yield made
    made.engine.close()


def test_the_page_says_why_and_hides_nothing_from_the_person(centre: Centre) -> None:
    first = centre.decide().items[0]
    answer = centre.client.get(centre.path)
    assert answer.status_code == 200
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert f"<small>{escape(first.reasons[0].text)}</small>" in answer.text
    assert "Thing &lt;" in answer.text, "names are escaped"
    assert answer.text.count(" checked>") == 3, "nobody was asked, and silence is yes here"
    held = centre.client.get(f"{centre.path}/data.json")
    assert held.headers["content-disposition"] == 'attachment; filename="my-data.json"'
    assert set(held.json()["identifiers"]) == {"user_id:ada-l", "anonymous_id:a1"}


def test_what_is_chosen_holds_for_every_identifier_at_once(centre: Centre) -> None:
    assert centre.decide().consent == "personal"
    answer = centre.post(action="save", **{"purpose.analytics": "yes"})
    assert (answer.status_code, answer.headers["location"].endswith("?said=saved")) == (303, True)
    assert centre.decide().consent == "contextual"
    standing = centre.engine.profile("anonymous_id:a1")["consent"]
    assert {n: p["allowed"] for n, p in standing["purposes"].items()} == {
        "personalization": False, "analytics": True, "advertising": False,
    }  # fmt: skip
    assert {one["identifier"] for one in standing["said"]} == {"user_id:ada-l", "anonymous_id:a1"}
    centre.post(action="save", **{"purpose.personalization": "yes"})
    assert centre.decide().consent == "personal"
    assert "Saved. It holds from now on." in centre.client.get(f"{centre.path}?said=saved").text


def test_everything_may_be_refused_and_allowed_again(centre: Centre) -> None:
    centre.post(action="save")
    assert centre.engine.ingest(view("a1", 9, "late")).suppressed == 1
    centre.post(action="save", **{"purpose.analytics": "yes"})
    assert centre.engine.ingest(view("a1", 9, "later")).stored == 1


def test_not_interested(centre: Centre) -> None:
    page = centre.client.get(centre.path).text
    found = re.search(r'name="item" value="(i\d+)"', page)
    assert found is not None
    shown = found[1]
    assert centre.post(action="dismiss", item=shown).headers["location"].endswith("?said=dismissed")
    assert shown not in [one.item_id for one in centre.decide().items]
    page = centre.client.get(centre.path).text
    assert "Not interested in</h2>" in page
    assert f'value="{shown}"' not in page
    assert centre.post(action="dismiss", item="nothing").status_code == 400


def test_frozen_and_used_again(centre: Centre) -> None:
    centre.post(action="restrict")
    assert "Your data is frozen" in centre.client.get(centre.path).text
    assert centre.decide().consent == "contextual"
    centre.post(action="restrict", lift="yes")
    assert centre.decide().consent == "personal"


def test_deleted(centre: Centre) -> None:
    assert centre.post(action="delete").status_code == 400
    answer = centre.post(action="delete", sure="yes")
    assert "Your data is deleted" in answer.text
    with pytest.raises(NotFound):
        centre.engine.profile("anonymous_id:a1")
    assert "We know nothing about you" in centre.client.get(centre.path).text
    assert [one.did for one in centre.audit.newest(about="user_id:ada-l")][:2] == [
        "preferences.read", "person.erased",
    ]  # fmt: skip
    assert b"ada-l" not in (centre.audit._path).read_bytes()


def test_a_link_is_for_one_person_and_ends(centre: Centre) -> None:
    assert "ada-l" not in centre.path
    for wrong in ("/nonsense", centre.path[:-4] + "AAAA", centre.path.swapcase(), "/%ff"):
        answer = centre.client.get(wrong)
        assert answer.status_code == 401, wrong
        assert "this link is not a good one" in answer.text
        assert centre.client.post(wrong, {"action": "save"}).status_code == 401
    other = PreferenceLinks("another secret", centre.clock)
    with pytest.raises(Unauthorized, match="not a good one"):
        other.read(centre.path.lstrip("/"))
    centre.clock.advance(7 * DAY)
    assert "this link has ended" in centre.client.get(centre.path).text
    for days in (0, 91):
        with pytest.raises(InvalidRequest, match="a link lives for 1 to 90 days"):
            centre.links.make("user_id:ada-l", days)
    with pytest.raises(InvalidRequest, match="this names nobody"):
        centre.links.make("ada")
    assert (
        centre.client.post(centre.links.make("user_id:x").removeprefix(PATH), {"action": "eat"}).status_code
        == 400
    )


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({f"f{n}": "x" for n in range(101)}, "the form has too many fields"),
        ({"action": "dismiss", "item": "x" * FORM_BYTES}, "the form is too large"),
        ({"action": "\x00", "item": "\ud83d"}, "no such choice"),
        ({}, "no such choice"),
    ],
)
def test_a_form_that_the_page_did_not_make_is_refused(
    centre: Centre, form: dict[str, str], said: str
) -> None:
    answer = centre.client.post(
        centre.path, {k: v.encode("utf-8", "replace").decode() for k, v in form.items()}
    )
    assert answer.status_code in (400, 413)
    assert said in answer.text
