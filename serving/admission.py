"""Who gets in: a ticket for each request, held from its head to its answer."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Ticket:
    """A request that got in; a context manager, so that what it holds is given back however the request ends.

    with engine.admit(content_length, seconds) as ticket:
        ... read the body; of a body of unstated length, say `ticket.received(num_bytes)` as it grows ...
        heard = await engine.listen(body, ListenRequest(..., ticket=ticket))
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def received(self, num_bytes: int) -> None:
        """So many bytes of the body are held by now; RequestError 429 when there is no room for more."""

    def release(self) -> None:
        """Give back what is held; further calls do nothing."""
