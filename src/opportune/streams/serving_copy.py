"""Redis as the serving copy: what the workers have folded, by identifier, for decisions to read.

``<prefix>:l:<identifier>`` is the leaf, ``<prefix>:k:<identifier>`` what others said of the identifier (its
ends of links), ``<prefix>:s:<identifier>`` its newest sessions where features of sessions are declared,
``<prefix>:x:<hash>`` the tombstone of somebody who was erased. A value is eight bytes of the Kafka offset
that it has reached, then the record as the codec writes it. A write that is older than what is
there changes nothing, so writing again is harmless and a worker that lost its partition cannot overwrite its
successor. What is deleted is an empty record with its offset, for as long as a worker that lost its partition
might still write an older one, and then nothing.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import redis

from opportune.errors import StorageError
from opportune.streams.config import ClusterConfig
from opportune.streams.connections import connected
from opportune.streams.stones import Hashes

LEAF, END, STONE, SESSIONS = b"l", b"k", b"x", b"s"
STAMP_BYTES = 8

FADING_MS = 600_000
"""How long the key of a deleted record stays, without a value."""

ASK_AGAIN_S = 0.5
"""How often a Redis that did not answer is asked whether it does again, by a thread of its own."""

_PUT = f"""
for i = 1, #KEYS do
  local held = redis.call('GETRANGE', KEYS[i], 0, 7)
  if #held < 8 or struct.unpack('>I8', held) < struct.unpack('>I8', ARGV[i]) then
    if #ARGV[i] == {STAMP_BYTES} then
      redis.call('SET', KEYS[i], ARGV[i], 'PX', {FADING_MS})
    else
      redis.call('SET', KEYS[i], ARGV[i])
    end
  end
end
"""
"""Offsets are exact in Lua's doubles up to 2**53."""

_MOST_PER_CALL = 500


def stamped(offset: int, data: bytes) -> bytes:
    """A record as Redis holds it; one that is deleted has no ``data``."""
    return struct.pack(">Q", offset) + data


class ServingCopy:
    """One thread at a time."""

    def __init__(self, config: ClusterConfig) -> None:
        self._where = config.redis.url
        self._timeout_s = config.redis.timeout_s
        self._prefix = config.prefix.encode() + b":"
        self.hashes = Hashes(config.erasure_key())
        self._redis = connected(config.redis, retries=1)
        # Reads have a connection of their own: a pool looks at the socket before and after every use.
        self._connection: Any = self._redis.connection_pool.make_connection()
        self._put = self._redis.register_script(_PUT)
        self._away: StorageError | None = None
        self._closing = threading.Event()

    def key(self, kind: bytes, identifier: bytes) -> bytes:
        return self._prefix + kind + b":" + identifier

    def stone_key(self, identifier: bytes) -> bytes:
        """Where the tombstone of an identifier is."""
        return self.key(STONE, self.hashes.of(identifier))

    def put(self, records: Mapping[bytes, bytes]) -> None:
        """Write stamped records by key, all that are newer than what is there. Raises
        :class:`StorageError`."""
        keys = list(records)
        try:
            for start in range(0, len(keys), _MOST_PER_CALL):
                some = keys[start : start + _MOST_PER_CALL]
                self._put(some, [records[key] for key in some])
        except redis.RedisError as error:
            raise self._broken(error) from error

    def get(self, keys: Sequence[bytes], within_s: float | None = None) -> list[bytes | None]:
        """Stamped records, None where there is none; one round trip, waited for as long as ``within_s`` or
        the file says, whichever is less. Raises :class:`StorageError`, and then without asking until Redis
        answers again, which a thread finds out: one decision waits for a Redis that is away, no other."""
        away = self._away
        if away is not None:
            raise away
        patience = self._timeout_s if within_s is None else min(within_s, self._timeout_s)
        try:
            try:
                return self._asked(keys, patience)
            except redis.ConnectionError:
                # It closed a connection that was idle, or started anew.
                return self._asked(keys, patience)
        except redis.RedisError as error:
            self._away = away = self._broken(error)
            threading.Thread(target=self._ask_again, name="opportune-redis", daemon=True).start()
            raise away from error

    def _asked(self, keys: Sequence[bytes], patience_s: float) -> list[bytes | None]:
        connection = self._connection
        try:
            connection.send_command("MGET", *keys)
            return cast(list[bytes | None], connection.read_response(timeout=patience_s))
        except redis.TimeoutError as error:
            connection.disconnect()
            raise redis.TimeoutError(f"no answer within {1e3 * patience_s:.0f} ms") from error
        except redis.RedisError:
            connection.disconnect()  # it connects again by itself
            raise

    def _ask_again(self) -> None:
        while not self._closing.wait(ASK_AGAIN_S):
            try:
                self._redis.ping()
            except redis.RedisError:
                continue
            self._away = None
            return

    def wait(self, wait_s: float = 120.0, say: Callable[[str], None] = lambda text: None) -> None:
        """Until Redis answers, with growing pauses. Raises :class:`StorageError` when it does not, or when
        it refuses the password."""
        deadline, pause = time.monotonic() + wait_s, 0.25
        while True:
            try:
                self._redis.ping()
                return
            except redis.AuthenticationError as error:
                raise StorageError(
                    f"Redis refuses the password ({error})",
                    seen=self._where,
                    remedy="check the user in redis.url and the variable in redis.password_env",
                ) from error
            except redis.RedisError as error:
                if time.monotonic() + pause > deadline:
                    raise self._broken(error) from error
                say(f"waiting for Redis at {self._where}: {error}")
                time.sleep(pause)
                pause = min(2 * pause, 15.0)

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of every record, deleted ones too. O(all records). Raises
        :class:`StorageError`."""
        try:
            for key in self._redis.scan_iter(self._prefix + b"*", count=1_000):
                # Lists of who draws from a quota are no text, and name nobody.
                value = b"" if key.startswith(self._prefix + b"q:") else self._redis.get(key)
                yield key, bytes(value or b"") if not isinstance(value, str) else value.encode()
        except redis.RedisError as error:
            raise self._broken(error) from error

    def memory(self) -> dict[str, Any]:
        """What Redis says of its memory."""
        return self._redis.info("memory")

    def close(self) -> None:
        self._closing.set()
        self._connection.disconnect()
        self._redis.close()

    def _broken(self, error: redis.RedisError) -> StorageError:
        return StorageError(
            f"Redis does not answer ({error})", seen=self._where, remedy="check redis.url and that it runs"
        )
