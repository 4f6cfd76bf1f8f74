"""What can go wrong for a client: the service refuses, or it cannot be reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """Base of what the client raises, apart from mistakes in the caller's own arguments (TypeError, ValueError)."""


class UnreachableError(ClientError):
    """No answer came: the connection failed, or took longer than the timeout."""


class ServiceError(ClientError):
    """The service refused. problem: its document (RFC 9457), {} when something between answered with no such thing.

    status: of HTTP; code: a stable word for programs, such as `bad_audio`; detail: a sentence for people; request_id:
    what to name when asking the operator; retry_after: seconds, where the service said when to come again.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after: float | None = None) -> None:
        self.status = status
        self.problem = dict(problem)
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail", "no reason was given"))
        self.request_id: str | None = problem.get("request_id")
        self.retry_after = retry_after
        super().__init__(f"{status} {self.code}: {self.detail}")


class OverloadedError(ServiceError):
    """429 or 503, still after as many tries as the client was to make: too much work, starting, or stopping."""
