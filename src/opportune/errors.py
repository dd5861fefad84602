"""Every error that the engine raises on purpose, and the one JSON shape that faces show it in.

::

    OpportuneError
    |- InvalidRequest        400  the caller sent something that cannot be used
    |  `- InvalidDefinition  400  a YAML definition is wrong
    |- Unauthorized          401  no key, or an unknown one
    |- Forbidden             403  the key does not reach this far
    |- NotFound              404
    |- Overloaded            429  try again after ``retry_after_s``
    |- NotInstalled          501  this installation lacks an optional package
    `- StorageError          503  the data folder cannot be used right now; nothing acknowledged is lost
       |- FolderInUse             another process has it open
       |- FolderTooNew            written by a newer version
       |- Corrupt                 bytes on disk are not what was written
       |- DiskFull
       `- FlushFailed             the disk refused a flush; reopen before going on
"""

from __future__ import annotations

from typing import Any, ClassVar

_UNSEEN: Any = object()


class OpportuneError(Exception):
    """What was wrong, the value seen, where it was seen, and what to do about it.

    >>> str(InvalidRequest("count must be 1 to 200", seen=0, where="$.count", remedy="send 1 to 200"))
    'count must be 1 to 200, saw 0, at $.count: send 1 to 200'
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(self, what: str, *, seen: Any = _UNSEEN, where: str = "", remedy: str = "") -> None:
        self.what = what
        self.has_seen = seen is not _UNSEEN
        self.seen = _shorten(seen) if self.has_seen else None
        self.where = where
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        text = self.what
        if self.has_seen:
            text += f", saw {self.seen!r}"
        if self.where:
            text += f", at {self.where}"
        if self.remedy:
            text += f": {self.remedy}"
        return text

    def to_dict(self) -> dict[str, Any]:
        """The JSON error body: ``code`` and ``message`` always, the rest where known."""
        body: dict[str, Any] = {"code": self.code, "message": self.what}
        if self.has_seen:
            body["seen"] = self.seen
        if self.where:
            body["where"] = self.where
        if self.remedy:
            body["remedy"] = self.remedy
        return body


def _shorten(value: Any, limit: int = 200) -> Any:
    """A value fit for a message: numbers and booleans as they are, all else as text of bounded length."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[:limit] + "..."


class InvalidRequest(OpportuneError):
    status = 400
    code = "invalid_request"


class InvalidDefinition(InvalidRequest):
    code = "invalid_definition"


class Unauthorized(OpportuneError):
    status = 401
    code = "unauthorized"


class Forbidden(OpportuneError):
    status = 403
    code = "forbidden"


class NotFound(OpportuneError):
    status = 404
    code = "not_found"


class Overloaded(OpportuneError):
    """The engine sheds load; ``retry_after_s`` is a whole number of seconds, at most 300."""

    status = 429
    code = "overloaded"

    def __init__(self, what: str, *, retry_after_s: int = 1, remedy: str = "") -> None:
        super().__init__(what, remedy=remedy or f"retry after {retry_after_s} s")
        self.retry_after_s = retry_after_s


class NotInstalled(OpportuneError):
    """What was asked for needs an optional package; the caller did nothing wrong."""

    status = 501
    code = "not_installed"


class StorageError(OpportuneError):
    status = 503
    code = "storage_unavailable"


class FolderInUse(StorageError):
    code = "folder_in_use"


class FolderTooNew(StorageError):
    code = "folder_too_new"


class Corrupt(StorageError):
    code = "corrupt"


class DiskFull(StorageError):
    code = "disk_full"


class FlushFailed(StorageError):
    code = "flush_failed"
