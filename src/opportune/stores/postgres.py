"""PostgreSQL for what many processes share and few of them ask often: definitions and the audit log.

One connection on a thread of its own, so that nobody waits longer than ``timeout_s`` for a server that does
not answer, and nobody at all while a question is still unanswered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg

from opportune.errors import StorageError

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]
Work = Callable[[Connection], Any]

CONNECT_WITHIN_S = 2
"""The least that PostgreSQL's own library waits."""


class Postgres:
    """``url`` is ``postgresql://user@host:port/database``, with ``?sslmode=verify-full&sslrootcert=FILE`` for
    TLS; the password is given apart. ``tables`` are statements that make what is missing, at the first
    question."""

    def __init__(
        self, url: str, *, password: str | None = None, timeout_s: float = 2.0, tables: tuple[str, ...] = ()
    ) -> None:
        shown = urlsplit(url)
        self._where = shown._replace(query="").geturl()
        self._url = url
        self._password = password
        self._timeout_s = timeout_s
        self._tables = tables
        self._connection: Connection | None = None
        self._questions: SimpleQueue[tuple[Work, Future[Any]] | None] = SimpleQueue()
        self._unanswered: Future[Any] | None = None
        threading.Thread(target=self._answer, name="opportune-postgres", daemon=True).start()

    def run(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` makes of the connection, inside one transaction. Raises :class:`StorageError` when
        nothing came within ``timeout_s`` (it may still happen), or when the server refuses."""
        if self._unanswered is not None:
            if not self._unanswered.done():
                raise self._broken("it has not answered an earlier question yet")
            self._unanswered = None
        answer: Future[T] = Future()
        self._questions.put((work, answer))
        try:
            return answer.result(self._timeout_s)
        except TimeoutError as error:
            self._unanswered = answer
            raise self._broken(f"no answer within {self._timeout_s:g} s") from error
        except psycopg.Error as error:
            raise self._refused(error) from error

    def wait(self, wait_s: float = 120.0, say: Callable[[str], None] = lambda text: None) -> None:
        """Until it answers, with growing pauses. Raises :class:`StorageError` when it does not, and at once
        when it refuses the password."""
        deadline, pause = time.monotonic() + wait_s, 0.25
        while True:
            try:
                return self.run(lambda connection: None)
            except StorageError as error:
                if error.what.startswith(_REFUSES) or time.monotonic() + pause > deadline:
                    raise
                say(f"waiting for PostgreSQL at {self._where}: {error.what}")
            time.sleep(pause)
            pause = min(2 * pause, 15.0)

    def close(self) -> None:
        self._questions.put(None)

    # -- the thread

    def _answer(self) -> None:
        while (question := self._questions.get()) is not None:
            work, answer = question
            try:
                found = self._asked(work)
            except BaseException as error:  # noqa: BLE001 - handed to the thread that asked, which raises it
                answer.set_exception(error)
            else:
                answer.set_result(found)
        if self._connection is not None:
            self._connection.close()

    def _asked(self, work: Work) -> Any:
        is_fresh = self._connection is None
        try:
            return self._in_transaction(work)
        except psycopg.OperationalError:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if is_fresh:
                raise
            # The server was started anew since the last question.
            return self._in_transaction(work)

    def _in_transaction(self, work: Work) -> Any:
        if self._connection is None:
            connection = psycopg.connect(
                self._url, password=self._password, connect_timeout=CONNECT_WITHIN_S, autocommit=True,
                application_name="opportune",
            )  # fmt: skip
            with connection.transaction():
                # Two processes that start at once would both make a table.
                connection.execute("select pg_advisory_xact_lock(hashtext('opportune tables'))")
                for statement in self._tables:
                    connection.execute(statement)
            self._connection = connection
        with self._connection.transaction():
            return work(self._connection)

    def _refused(self, error: psycopg.Error) -> StorageError:
        told = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        if "password authentication failed" in told or "no password supplied" in told:
            return StorageError(
                f"{_REFUSES} ({told})",
                seen=self._where,
                remedy="check the user in postgres.url and the variable in postgres.password_env",
            )
        if isinstance(error, psycopg.OperationalError):
            return self._broken(told)
        return StorageError(
            f"PostgreSQL refuses ({told})", seen=self._where, remedy="check what its user may do"
        )

    def _broken(self, told: str) -> StorageError:
        return StorageError(
            f"PostgreSQL does not answer ({told})",
            seen=self._where,
            remedy="check postgres.url and that it runs",
        )


_REFUSES = "PostgreSQL refuses the password"
