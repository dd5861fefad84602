"""Refusals that only HTTP knows; the rest of the tree is ``opportune.errors``."""

from __future__ import annotations

from opportune.errors import InvalidRequest, OpportuneError, Overloaded


class UnreadableJson(InvalidRequest):
    code = "unreadable_json"


class TooLarge(InvalidRequest):
    """Tracking clients expect 400, not 413, for what is too large."""

    code = "too_large"


class MethodNotAllowed(OpportuneError):
    status = 405
    code = "method_not_allowed"

    def __init__(self, method: str, allowed: str) -> None:
        self.allowed = allowed
        super().__init__("this path does not answer that method", seen=method, remedy=f"use {allowed}")


class UnsupportedEncoding(OpportuneError):
    status = 415
    code = "unsupported_encoding"


class RateLimited(Overloaded):
    """One client asks for more than its share (``server/rates.py``); the others are served."""

    code = "rate_limited"


class CannotListen(OpportuneError):
    """Not over HTTP: the server could not start."""

    code = "cannot_listen"


class ClientGone(Exception):
    """The client closed the connection before its request was complete; there is nobody to answer."""
