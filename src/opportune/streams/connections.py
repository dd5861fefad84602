"""How processes of a cluster reach Redis."""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from opportune.streams.config import RedisConfig


def connected(config: RedisConfig, *, retries: int) -> redis.Redis:
    """A client; it connects when it is first asked. Answers and connections are waited for ``timeout_s``."""
    return redis.Redis.from_url(
        config.url,
        password=config.password(),
        socket_timeout=config.timeout_s,
        socket_connect_timeout=config.timeout_s,
        retry=Retry(NoBackoff(), retries),
        protocol=2,
    )
