"""What a client may ask for is counted over all gateways, and no request waits for Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from opportune.cli.cluster_roles import shared_rates
from opportune.server.rates import Rates, TokenBuckets
from opportune.server.refusals import RateLimited
from opportune.streams.config import ClusterConfig, RedisConfig
from opportune.streams.engine import ClusterEngine
from opportune.streams.quotas import SharedBuckets

PER_S, BURST_S = 200.0, 1.0
CHUNK = 20


def _local(per_s: float, burst_s: float) -> TokenBuckets:
    return TokenBuckets(per_s, burst_s, time.monotonic)


def _gateway(config: ClusterConfig, stack: ExitStack) -> SharedBuckets:
    made = SharedBuckets(config, "key", PER_S, BURST_S, _local)
    stack.callback(made.close)
    return made


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.01)


def test_two_gateways_grant_together_what_the_quota_says(config: ClusterConfig) -> None:
    with ExitStack() as stack:
        gateways = [_gateway(config, stack) for _ in range(2)]
        began, granted, slowest = time.monotonic(), 0, 0.0
        while (took := time.monotonic() - began) < 2.0:
            for gateway in gateways:
                before = time.perf_counter()
                granted += gateway.take("key:a") == 0.0
                slowest = max(slowest, time.perf_counter() - before)
            time.sleep(0.0005)
        most = PER_S * (BURST_S + took) + 2 * CHUNK + 2
        assert 0.8 * PER_S * (BURST_S + took) < granted <= most, "one of each for both would be twice that"
        assert gateways[0].take("key:b") == 0.0, "nobody else waits"
        assert gateways[0].processes == 2


def test_whoever_asks_too_often_is_told_whole_seconds(config: ClusterConfig) -> None:
    engine = cast(ClusterEngine, SimpleNamespace(more_gauges={}))
    grant, call = cast(Any, SimpleNamespace(is_public=False, who="key:a")), cast(Any, None)
    with shared_rates(config, Rates(key_per_s=1.0, burst_s=2.0), engine) as limiter:
        assert limiter is not None

        told: list[RateLimited] = []

        def refused() -> bool:
            try:
                limiter.check(grant, call)
            except RateLimited as error:
                told.append(error)
            return bool(told)

        _until(refused)
        assert isinstance(told[0].retry_after_s, int)
        assert 1 <= told[0].retry_after_s <= 3
        assert "this key is used too often" in str(told[0])
        assert engine.more_gauges["quota_local"]() == 0.0


def test_without_redis_each_grants_its_share(config: ClusterConfig, tmp_path: Path) -> None:
    nowhere = msgspec.structs.replace(config, redis=RedisConfig("redis://127.0.0.1:1/0", timeout_s=0.1))
    with ExitStack() as stack:
        alone = _gateway(nowhere, stack)
        assert alone.take("key:a") == 0.0, "on credit"
        _until(lambda: alone.is_local)
        began, granted = time.monotonic(), 0
        while (took := time.monotonic() - began) < 0.5:
            granted += alone.take("key:a") == 0.0
        assert granted == pytest.approx(PER_S * (BURST_S + took), abs=3)
