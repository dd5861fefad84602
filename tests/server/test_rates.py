"""Who asks too often is told when to come back; nobody else notices."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from opportune.access.roster import Roster
from opportune.access.scopes import SECRET_GRANT, WRITE_GRANT, Grant
from opportune.server.addresses import network
from opportune.server.auth import Keys
from opportune.server.call import Call
from opportune.server.rates import Limiter, Rates, TokenBuckets
from opportune.server.refusals import RateLimited

EVENT = {"type": "track", "event": "x", "anonymousId": "a"}


class Moments:
    """Seconds, as told."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.lock = threading.Lock()

    def __call__(self) -> float:
        with self.lock:
            return self.now


@pytest.fixture
def moments() -> Moments:
    return Moments()


@pytest.fixture
def get(make_server: Callable[..., Any]) -> Iterator[Callable[..., Callable[..., httpx.Response]]]:
    """Start a server; then one GET of the accounting, or with a body a post of an event."""
    opened: list[httpx.Client] = []

    def start(**options: Any) -> Callable[..., httpx.Response]:
        client = httpx.Client(base_url=make_server(**options).url, timeout=10)
        opened.append(client)

        def ask(key: str, path: str = "/v1/accounting", body: Any = None, **headers: str) -> httpx.Response:
            sent = {"authorization": f"Bearer {key}", **{k.replace("_", "-"): v for k, v in headers.items()}}
            return client.request("GET" if body is None else "POST", path, json=body, headers=sent)

        return ask

    yield start
    for client in opened:
        client.close()


def test_a_key_has_its_burst_and_then_its_rate(get: Callable[..., Any], moments: Moments) -> None:
    """2 a second with 1.5 seconds' worth at once: three, then one each half second."""
    ask = get(rates=Rates(key_per_s=2, burst_s=1.5), rate_clock=moments)
    assert [ask("sk_test").status_code for _ in range(4)] == [200, 200, 200, 429]
    moments.now += 0.5
    assert [ask("sk_test").status_code for _ in range(2)] == [200, 429]
    moments.now += 1_000
    assert [ask("sk_test").status_code for _ in range(4)] == [200, 200, 200, 429], "no more than a burst"


def test_the_refusal_says_when_to_come_back_and_is_counted(get: Callable[..., Any], moments: Moments) -> None:
    ask = get(rates=Rates(key_per_s=0.2, burst_s=0), rate_clock=moments)
    assert ask("sk_test").status_code == 200
    moments.now += 0.7
    refused = ask("sk_test")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "5", "1 / 0.2 - 0.7 = 4.3 s, in whole seconds"
    assert refused.json() == {
        "code": "rate_limited",
        "message": "this key is used too often",
        "remedy": "retry after 5 s",
    }
    moments.now += 5
    assert ask("sk_test").status_code == 200, "who comes when told is served"
    counted = 'opportune_http_refused_total{code="rate_limited",route="/v1/accounting"} 1.0'
    assert counted in ask("-", "/metrics").text


def test_keys_do_not_spend_each_others_share(
    get: Callable[..., Any], moments: Moments, tmp_path: Path
) -> None:
    roster = Roster(tmp_path)
    texts = [roster.create_key(name, role="analyst")[1] for name in ("one", "two")]
    keys = Keys(write="wk_test", secret="sk_test", roster=roster)
    ask = get(keys=keys, rates=Rates(key_per_s=1, burst_s=1), rate_clock=moments)
    assert [ask(text).status_code for text in (texts[0], texts[0], texts[1], "sk_test")] == [
        200,
        429,
        200,
        200,
    ]


def test_with_the_public_key_each_address_has_its_share(get: Callable[..., Any], moments: Moments) -> None:
    ask = get(rates=Rates(address_per_s=1, burst_s=2, proxies=1), rate_clock=moments)

    def post(forwarded: str, key: str = "wk_test") -> int:
        return int(ask(key, "/v1/track", EVENT, x_forwarded_for=forwarded).status_code)

    assert [post("192.0.2.1") for _ in range(3)] == [200, 200, 429]
    assert post("192.0.2.2") == 200, "another address"
    assert post("192.0.2.2, 192.0.2.1") == 429, "what stands further left could be anybody's invention"
    assert post("192.0.2.1", "sk_test") == 200, "a secret key is not limited by address"
    decided = ask("wk_test", "/v1/decide", {"placement": "home_recs"}, x_forwarded_for="192.0.2.1")
    assert decided.status_code == 429, "decisions and posts are one share"


def test_a_key_in_the_body_counts_like_one_in_a_header(get: Callable[..., Any], moments: Moments) -> None:
    ask = get(rates=Rates(address_per_s=1, burst_s=1), rate_clock=moments)
    body = {"batch": [EVENT], "writeKey": "wk_test"}
    assert [ask("?", "/v1/batch", body).status_code for _ in range(2)] == [200, 429]


def test_without_declared_proxies_a_header_makes_nobody_somebody_else(
    get: Callable[..., Any], moments: Moments
) -> None:
    ask = get(rates=Rates(address_per_s=1, burst_s=1), rate_clock=moments)
    answers = [ask("wk_test", "/v1/track", EVENT, x_forwarded_for=f"192.0.2.{n}") for n in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]


def test_paths_with_parameters_know_the_address_too(get: Callable[..., Any], moments: Moments) -> None:
    ask = get(rates=Rates(address_per_s=1, burst_s=1), rate_clock=moments)
    assert ask("wk_test", "/v1/track", EVENT).status_code == 200
    flag = ask("wk_test", "/ofrep/v1/evaluate/flags/x", {"context": {"targetingKey": "a"}})
    assert flag.status_code == 429


def test_a_wrong_key_is_no_client(get: Callable[..., Any], moments: Moments) -> None:
    ask = get(rates=Rates(key_per_s=1, address_per_s=1, burst_s=1), rate_clock=moments)
    assert [ask("wrong").status_code for _ in range(3)] == [401] * 3
    assert ask("sk_test").status_code == 200


def test_by_default_nobody_is_limited() -> None:
    limiter = Limiter(Rates(), lambda: 0.0)
    for _ in range(10_000):
        limiter.check(SECRET_GRANT, call(""))
        limiter.check(WRITE_GRANT, call(""))


def call(address: str, forwarded: bytes = b"") -> Call:
    headers = [(b"x-forwarded-for", line) for line in forwarded.split(b"\n") if line]
    return Call("GET", b"/", b"", headers, address=address)


@pytest.mark.parametrize(
    ("proxies", "forwarded", "client"),
    [
        (0, b"192.0.2.9", "192.0.2.1"),
        (1, b"192.0.2.8, 192.0.2.9", "192.0.2.9"),
        (2, b"192.0.2.7, 192.0.2.8, 192.0.2.9", "192.0.2.8"),
        (1, b"192.0.2.7\n192.0.2.9", "192.0.2.9"),  # a line for each proxy
        (2, b"192.0.2.7, 192.0.2.8\n192.0.2.9", "192.0.2.8"),
        (2, b"192.0.2.9", "192.0.2.1"),  # it did not come through both
        (1, b"unknown", "192.0.2.1"),
        (1, b"", "192.0.2.1"),
    ],
)
def test_whose_address_it_is(proxies: int, forwarded: bytes, client: str) -> None:
    """Whoever has that address for themselves is refused after it was used."""
    limiter = Limiter(Rates(address_per_s=1, burst_s=1, proxies=proxies), lambda: 0.0)
    limiter.check(WRITE_GRANT, call("192.0.2.1", forwarded))
    alone = b", ".join([client.encode()] * max(proxies, 1))
    with pytest.raises(RateLimited, match="this address asks too often"):
        limiter.check(WRITE_GRANT, call(client, alone))


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1:ffff::1", "2001:db8:0:1::"),
        ("2001:db8:0:1::2", "2001:db8:0:1::"),
        ("2001:db8:0:2::2", "2001:db8:0:2::"),
        ("[2001:db8:0:2::2]:443", "2001:db8:0:2::"),
        ("nonsense", ""),
        ("", ""),
    ],
)
def test_what_counts_as_one_client(address: str, client: str) -> None:
    assert network(address) == client


def test_a_wait_is_told_as_at_most_five_minutes() -> None:
    limiter = Limiter(Rates(key_per_s=0.001, burst_s=0), lambda: 0.0)
    limiter.check(Grant(0, "key:a"), call(""))
    with pytest.raises(RateLimited) as refused:
        limiter.check(Grant(0, "key:a"), call(""))
    assert refused.value.retry_after_s == 300


def test_inexact_fractions_do_not_cost_a_token() -> None:
    """A tenth has no exact binary form; ten of them are still one second's worth."""
    for per_s in (3.0, 7.0, 10.0, 1_000.0):
        buckets = TokenBuckets(per_s, 1.0, lambda: 1e6)
        assert [buckets.take("a") > 0 for _ in range(int(per_s) + 1)] == [False] * int(per_s) + [True]


def test_whoever_is_served_again_is_forgotten_first() -> None:
    """Memory is bounded, and a crowd of addresses does not set the one free that is being refused."""
    now = [0.0]
    buckets = TokenBuckets(1.0, 1.0, lambda: now[0], capacity=4)
    for name in ("a", "b", "c", "d"):
        assert buckets.take(name) == 0.0
    now[0] = 0.5
    assert buckets.take("e") == 0.0
    assert len(buckets) == 4 // 2 + 1, "none is full again: the older half goes"
    assert buckets.take("d") == pytest.approx(0.5, abs=1e-5), "the newer half stays"
    now[0] = 2.0
    for name in ("f", "g"):
        assert buckets.take(name) == 0.0
    assert len(buckets) <= 4
