"""Quotas over all processes: one bucket per client in Redis, from which every process draws ahead.

A request never waits for Redis. A process holds a few tokens of each client and has a thread ask for more
before they run out; until the answer is there it lets a few requests through on credit, which the next answer
pays for. So for long a client gets what its quota says, whatever process it asks, and at once no more than
the burst and one credit for each process.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

import redis

from opportune.streams.config import ClusterConfig
from opportune.streams.connections import connected

log = logging.getLogger("opportune.streams")

AHEAD_S = 0.1
"""How much of a client's quota one process draws at a time, as seconds of it."""

ASK_AGAIN_S = 0.5
ALIVE_S = 10
"""Who drew within so long shares the quota when Redis is away."""

MOST_CLIENTS = 100_000

_DRAW = """
local t = redis.call('TIME')
local now = t[1] + t[2] / 1e6
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[4]))
local told = { redis.call('ZCARD', KEYS[1]) }
local interval, burst = tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 2, #KEYS do
  local wanted = tonumber(ARGV[i + 3])
  local full_at = tonumber(redis.call('GET', KEYS[i]) or now)
  if full_at < now then full_at = now end
  local granted = math.floor((burst - (full_at - now)) / interval + 1e-6)
  if granted > wanted then granted = wanted end
  if granted > 0 then
    full_at = full_at + granted * interval
    redis.call('SET', KEYS[i], string.format('%.6f', full_at), 'PX', math.ceil((full_at - now) * 1000) + 1000)
  else
    granted = 0
  end
  told[#told + 1] = granted
  told[#told + 1] = math.ceil(math.max(0, full_at - now + interval - burst) * 1000)
end
return told
"""
"""A bucket is kept as the moment at which it will be full again (the generic cell rate algorithm), by the
clock of Redis. Answers how many processes draw, then for each client what it got and in how many
milliseconds there is another."""


class _Account:
    """What a process holds of one client: tokens, or requests on credit where it is negative."""

    __slots__ = ("asked", "empty_until", "stock")

    def __init__(self) -> None:
        self.stock = 0
        self.asked = 0
        self.empty_until = 0.0


class SharedBuckets:
    """The ``take`` of :class:`~opportune.server.rates.TokenBuckets`, over all processes that are named alike.
    One thread at a time may take.

    When Redis does not answer, this process grants its share by itself: ``local`` makes buckets of so many a
    second, and :attr:`is_local` says so.
    """

    def __init__(
        self,
        config: ClusterConfig,
        name: str,
        per_s: float,
        burst_s: float,
        local: Callable[[float, float], Any],
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._interval_s = 1.0 / per_s
        self._burst_s = max(burst_s, self._interval_s)
        self._chunk = max(1, round(per_s * AHEAD_S))
        self._make_local = local
        self._local = local(per_s, self._burst_s)
        self._clock = clock
        self._accounts: dict[str, _Account] = {}
        self.is_local = False
        self.processes = 1
        """How many drew lately, this one among them."""
        self._id = secrets.token_hex(8)
        self._prefix = f"{config.prefix}:q:{name}:"
        self._redis = connected(config.redis, retries=0)
        self._draw = self._redis.register_script(_DRAW)
        self._wanted: SimpleQueue[tuple[str, int] | None] = SimpleQueue()
        self._answers: deque[tuple[str, int, float]] = deque()
        self._thread = threading.Thread(target=self._draw_forever, name="opportune-quota", daemon=True)
        self._thread.start()

    def take(self, client: str) -> float:
        """Take a token: 0.0, or the seconds until there may be one again. 0.5 us; asks nobody."""
        if self._answers:
            self._settle()
        if self.is_local:
            waited: float = self._local.take(client)
            return waited
        account = self._accounts.get(client)
        if account is None:
            account = self._opened(client)
        stock = account.stock
        if stock > self._chunk // 2:
            account.stock = stock - 1
            return 0.0
        now = self._clock()
        is_empty = now < account.empty_until
        if not account.asked and not is_empty:
            account.asked = 2 * self._chunk - stock
            self._wanted.put((client, account.asked))
        if stock > 0 or (stock > -self._chunk and not is_empty):
            account.stock = stock - 1
            return 0.0
        return max(account.empty_until - now, self._interval_s)

    def close(self) -> None:
        self._wanted.put(None)
        self._thread.join(timeout=1.0)
        self._redis.close()

    def _opened(self, client: str) -> _Account:
        if len(self._accounts) >= MOST_CLIENTS:
            self._accounts = dict(list(self._accounts.items())[-MOST_CLIENTS // 2 :])
        account = self._accounts[client] = _Account()
        return account

    def _settle(self) -> None:
        """Take in what the thread was told."""
        while self._answers:
            client, granted, wait_s = self._answers.popleft()
            account = self._accounts.get(client)
            if account is not None:
                if granted < account.asked:
                    account.empty_until = self._clock() + wait_s
                account.stock += granted
                account.asked = 0

    # -- the thread

    def _draw_forever(self) -> None:
        while (first := self._wanted.get()) is not None:
            wanted = [first]
            try:
                while True:
                    more = self._wanted.get_nowait()
                    if more is None:
                        return
                    wanted.append(more)
            except Empty:
                pass
            if not self._drawn(wanted) and not self._until_back():
                return

    def _drawn(self, wanted: list[tuple[str, int]]) -> bool:
        """Ask once for all of them; false when Redis does not answer."""
        names = [self._prefix, *(self._prefix + client for client, _ in wanted)]
        about: list[str | float] = [
            self._id,
            self._interval_s,
            self._burst_s,
            ALIVE_S,
            *(count for _, count in wanted),
        ]
        try:
            told = self._draw(names, about)
        except redis.RedisError as error:
            log.warning("quotas: Redis does not answer (%s); each process grants its share", error)
            self._local = self._make_local(1.0 / (self._interval_s * self.processes), self._burst_s)
            self.is_local = True
            self._answers.extend((client, 0, 0.0) for client, _ in wanted)
            return False
        self.processes = max(1, int(told[0]))
        pairs = zip(told[1::2], told[2::2], strict=True)
        self._answers.extend(
            (client, int(granted), int(wait_ms) / 1e3)
            for (client, _), (granted, wait_ms) in zip(wanted, pairs, strict=True)
        )
        return True

    def _until_back(self) -> bool:
        """Until Redis answers again; false when this is closed before."""
        while True:
            try:
                asked = self._wanted.get(timeout=ASK_AGAIN_S)
                if asked is None:
                    return False
                self._answers.append((asked[0], 0, 0.0))
            except Empty:
                pass
            try:
                self._redis.ping()
            except redis.RedisError:
                continue
            self.is_local = False
            return True
