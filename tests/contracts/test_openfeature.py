"""The OpenFeature Remote Evaluation Protocol, by the unmodified Python and web providers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from tests.contracts.test_node_clients import run


@pytest.fixture
def client(served: Any) -> Iterator[Any]:
    api.set_provider(
        OFREPProvider(served.url, headers_factory=lambda: {"Authorization": f"Bearer {served.write_key}"})
    )
    yield api.get_client()
    api.clear_providers()


@pytest.fixture
def person() -> str:
    return f"of-{uuid4().hex[:12]}"


def who(person: str, **attributes: Any) -> EvaluationContext:
    return EvaluationContext(person, attributes)


class TestPythonProvider:
    def test_every_type(self, client: Any, person: str) -> None:
        on = client.get_boolean_details("banner", False, who(person))
        assert (on.reason, on.variant, on.error_code) == (Reason.SPLIT, "on" if on.value else "off", None)
        assert on.flag_metadata == {"experiment": "banner", "propensity": 0.5}
        assert client.get_string_value("headline", "default", who(person)) == "loud"
        assert client.get_float_value("discount", 0.0, who(person)) == 1.0
        assert client.get_integer_value("tiles", 0, who(person)) == 8
        assert client.get_object_value("layout", {}, who(person)) == {"columns": [1, 2]}

    def test_sticky(self, client: Any, person: str) -> None:
        first = client.get_boolean_value("banner", False, who(person))
        assert {client.get_boolean_value("banner", not first, who(person)) for _ in range(3)} == {first}

    def test_an_audience_not_met_leaves_the_default(self, client: Any, person: str) -> None:
        told = client.get_boolean_details("germans", True, who(person, country="FR"))
        assert (told.value, told.reason) == (True, Reason.UNKNOWN)
        inside = client.get_boolean_details("germans", True, who(person, country="DE"))
        assert inside.reason == Reason.SPLIT

    def test_a_stopped_experiment_is_disabled(self, client: Any, person: str) -> None:
        told = client.get_string_details("over", "mine", who(person))
        assert (told.value, told.reason) == ("mine", Reason.DISABLED)

    def test_a_placement_is_an_object(self, client: Any, served: Any, person: str) -> None:
        told = client.get_object_details("home_recs", {}, who(person))
        assert (told.reason, told.variant) == (Reason.TARGETING_MATCH, "default")
        assert set(told.value) == {"items", "content"}
        decision = served.get(f"/v1/decisions/{told.flag_metadata['decision_id']}").json()
        assert decision["placement"] == "home_recs"

    def test_being_told_is_being_exposed(self, client: Any, served: Any, person: str) -> None:
        arm = client.get_boolean_details("banner", False, who(person)).variant
        exposures = served.profile(f"user_id:{person}")["exposures"]
        assert [e["placement"] for e in exposures] == ["flag:banner"]
        record = served.get(f"/v1/decisions/{exposures[0]['decision_id']}").json()
        assert [(a["experiment"], a["arm"]) for a in record["explanation"]["experiments"]] == [
            ("banner", arm)
        ]

    def test_what_cannot_be_answered(self, client: Any, person: str) -> None:
        missing = client.get_string_details("missing", "mine", who(person))
        assert (missing.value, missing.error_code) == ("mine", ErrorCode.FLAG_NOT_FOUND)
        nobody = client.get_string_details("headline", "mine", EvaluationContext())
        assert (nobody.value, nobody.error_code) == ("mine", ErrorCode.TARGETING_KEY_MISSING)

    def test_a_wrong_key(self, served: Any, person: str) -> None:
        api.set_provider(OFREPProvider(served.url))
        told = api.get_client().get_string_details("headline", "mine", who(person))
        assert (told.value, told.error_code, told.error_message) == (
            "mine",
            ErrorCode.GENERAL,
            "unauthorized",
        )
        api.clear_providers()


class TestWire:
    def test_bulk_with_an_etag(self, served: Any, person: str) -> None:
        body = {"context": {"targetingKey": person}}
        first = served.post("/ofrep/v1/evaluate/flags", body)
        keys = [flag["key"] for flag in first.json()["flags"]]
        assert keys == ["banner", "headline", "discount", "tiles", "layout", "germans", "over"]
        again = httpx.post(
            f"{served.url}/ofrep/v1/evaluate/flags",
            json=body,
            headers={"X-API-Key": served.write_key, "If-None-Match": first.headers["etag"]},
        )
        assert (again.status_code, again.content) == (304, b"")
        assert "etag" in again.headers["access-control-expose-headers"]
        other = served.post(
            "/ofrep/v1/evaluate/flags", {"context": {"targetingKey": person, "country": "DE"}}
        )
        assert other.headers["etag"] != first.headers["etag"]

    def test_preflight(self, served: Any) -> None:
        for path in ("/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/banner"):
            answer = httpx.options(served.url + path, headers={"Origin": "https://shop.example"})
            assert answer.status_code == 204
            assert "if-none-match" in answer.headers["access-control-allow-headers"]

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ("{", "PARSE_ERROR"),
            ('{"context": 1}', "PARSE_ERROR"),
            ('{"context": {}}', "TARGETING_KEY_MISSING"),
        ],
    )
    def test_refusals(self, served: Any, body: str, code: str) -> None:
        answer = httpx.post(
            f"{served.url}/ofrep/v1/evaluate/flags/banner",
            content=body,
            headers={"X-API-Key": served.write_key},
        )
        assert (answer.status_code, answer.json()["errorCode"]) == (400, code)
        assert answer.json()["key"] == "banner"


@pytest.mark.node
def test_the_web_provider(node_clients: Path, served: Any, person: str) -> None:
    answer = run(node_clients, "ofrep_web.mjs", url=served.url, writeKey=served.write_key, person=person)
    told = answer["told"]
    assert told["headline"] | {"flagMetadata": {}} == {
        "flagKey": "headline", "value": "loud", "variant": "loud", "reason": "SPLIT", "flagMetadata": {},
    }  # fmt: skip
    assert told["banner"]["value"] == (told["banner"]["variant"] == "on")
    assert told["discount"]["value"] == 1
    assert told["layout"]["value"] == {"columns": [1, 2]}
    assert told["germans"]["value"] is True
    assert told["over"]["value"] == "mine"
    assert told["missing"]["errorCode"] == "FLAG_NOT_FOUND"
    assert set(told["home"]["value"]) == {"items", "content"}
    assert told["inGermany"]["reason"] == "SPLIT"
    assert answer["statuses"][0] == 200
    assert 304 in answer["statuses"]
