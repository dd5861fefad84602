"""How many requests one client may make: a token bucket per key, per address where the key is public."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from time import monotonic
from typing import Protocol

import msgspec

from opportune.access.scopes import Grant
from opportune.server.addresses import network
from opportune.server.call import Call
from opportune.server.refusals import RateLimited

MOST_CLIENTS = 100_000
"""Clients that are remembered at once, 15 MB at most: whoever has not asked for longest is forgotten."""

LONGEST_WAIT_S = 300


class Rates(msgspec.Struct, frozen=True):
    """Requests a second that one client may make for long; 0 limits nobody, and is the default: behind a
    proxy that is not declared, all the world is one address.

    ``key_per_s`` is for each key that is not public, the secret key included. ``address_per_s`` is for each
    address that uses a public key, because that key is everybody's; 64 bits of an IPv6 address count as one.
    Who was quiet may ask for ``burst_s`` seconds' worth at once. ``proxies`` is how many proxies of yours
    stand before the server: so many entries from the right of ``X-Forwarded-For`` is the address, and
    entries further left, which anybody can write, are not looked at. Each process counts for itself,
    those of a cluster together.
    """

    key_per_s: float = 0.0
    address_per_s: float = 0.0
    burst_s: float = 10.0
    proxies: int = 0


class TokenBuckets:
    """One bucket per client, kept as the moment at which it will be full again, which is all there is to know
    (the generic cell rate algorithm, ITU-T I.371). O(1) a request; not for several threads."""

    __slots__ = ("_capacity", "_clock", "_full_at", "_interval_s", "_most_ahead_s")

    def __init__(
        self, per_s: float, burst_s: float, clock: Callable[[], float], capacity: int = MOST_CLIENTS
    ) -> None:
        self._interval_s = 1.0 / per_s
        # A bucket holds one token at least. A millionth of a second is for sums of inexact fractions.
        self._most_ahead_s = max(burst_s - self._interval_s, 0.0) + 1e-6
        self._clock = clock
        self._capacity = capacity
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, client: str) -> float:
        """Take a token: 0.0, or the seconds until there is one again."""
        now = self._clock()
        full_at = self._full_at.get(client)
        if full_at is None:
            if len(self._full_at) >= self._capacity:
                self._forget(now)
            full_at = now
        elif full_at < now:
            full_at = now
        wait_s = full_at - now - self._most_ahead_s
        if wait_s > 0.0:
            return wait_s
        self._full_at[client] = full_at + self._interval_s
        return 0.0

    def _forget(self, now: float) -> None:
        """Those whose bucket is full, which is no loss; if they are few, also the older half of the rest."""
        kept = {client: full_at for client, full_at in self._full_at.items() if full_at > now}
        if len(kept) > self._capacity // 2:
            kept = dict(list(kept.items())[-(self._capacity // 2) :])
        self._full_at = kept


class Buckets(Protocol):
    """One bucket per client."""

    def take(self, client: str) -> float:
        """Take a token: 0.0, or the seconds until there is one again."""
        ...


class Limiter:
    """Raises for who asks too often. 0.7 us a request, nothing where :class:`Rates` limit nobody. ``make``
    makes the buckets of what is limited (``key``, ``address``), so many a second, so many seconds' worth at
    once: of this process alone, where nothing else is said."""

    def __init__(
        self,
        rates: Rates,
        clock: Callable[[], float] = monotonic,
        *,
        make: Callable[[str, float, float], Buckets] | None = None,
    ) -> None:
        make = make or (lambda what, per_s, burst_s: TokenBuckets(per_s, burst_s, clock))
        self._proxies = rates.proxies
        self._keys = make("key", rates.key_per_s, rates.burst_s) if rates.key_per_s else None
        self._addresses = make("address", rates.address_per_s, rates.burst_s) if rates.address_per_s else None

    def check(self, grant: Grant, call: Call) -> None:
        """Count one request. Raises :class:`RateLimited`."""
        if grant.is_public:
            if self._addresses is None:
                return
            client = call.address
            if self._proxies and (passed := [v for name, v in call.headers if name == b"x-forwarded-for"]):
                # Some proxies add a line of their own instead of continuing the one they got.
                client = forwarded_for(b",".join(passed), self._proxies) or client
            if wait_s := self._addresses.take(client):
                raise _refused("this address asks too often", wait_s)
        elif self._keys is not None and (wait_s := self._keys.take(grant.who)):
            raise _refused("this key is used too often", wait_s)


def _refused(what: str, wait_s: float) -> RateLimited:
    return RateLimited(what, retry_after_s=min(math.ceil(wait_s), LONGEST_WAIT_S))


@lru_cache(maxsize=8_192)
def forwarded_for(header: bytes, proxies: int) -> str:
    """The client that the outermost of so many proxies saw; empty when the header tells of fewer."""
    hops = header.split(b",")
    return network(hops[-proxies].decode("latin-1").strip()) if len(hops) >= proxies else ""
