"""The service from Python: `Client` waits for its answers, `AsyncClient` does other things meanwhile.

    from serving.client import Client

    with Client("http://localhost:8000", key="sed_...") as client:
        result = client.events("yard.flac", thresholds={"dog": 0.4}, top_k=5)
        for event in result.events:
            print(event.onset, event.offset, event.label, event.score)

Overload is waited for, as long as the service asks and `max_wait` allows. Nothing of the service is imported, so a
program needs `desed-task[client]` alone.
"""

try:
    import httpx as _  # noqa: F401
except ImportError:
    raise ImportError("serving.client needs httpx: pip install 'desed-task[client]'") from None

from serving.client.blocking import Client
from serving.client.concurrent import AsyncClient
from serving.client.errors import ClientError, OverloadedError, ServiceError, UnreachableError
from serving.client.results import Audio, BatchItem, Event, Frames, Identity, Model, Result, Tag, Timing

__all__ = [
    "AsyncClient",
    "Audio",
    "BatchItem",
    "Client",
    "ClientError",
    "Event",
    "Frames",
    "Identity",
    "Model",
    "OverloadedError",
    "Result",
    "ServiceError",
    "Tag",
    "Timing",
    "UnreachableError",
]
