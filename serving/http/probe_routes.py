"""GET /health/live, /health/ready and /metrics: what those who watch the service ask."""

from __future__ import annotations

from serving.errors import draining, not_ready
from serving.http.answers import json_answer
from serving.http.calls import Answer, Call, Route
from serving.http.operations import document_answer, operation, plain_answer, problems
from serving.http.schemas import Health
from serving.metrics import CONTENT_TYPE


async def live(_call: Call) -> Answer:
    """Whether the process answers."""
    return json_answer({"status": "live"})


async def ready(call: Call) -> Answer:
    """Whether a recording would be heard now: 503 until every model is warm, and while the server is stopping."""
    if call.services.stopping:
        raise draining()
    if not call.services.engine.ready:
        raise not_ready("no model is warm yet, or the server is stopping; try again soon, or ask another one")
    return json_answer({"status": "ready"})


async def metrics(call: Call) -> Answer:
    """What the service counts, as Prometheus reads it."""
    return Answer(call.services.metrics.text(), CONTENT_TYPE.encode("ascii"))


ROUTES = (
    Route(
        "GET",
        "/health/live",
        live,
        operation("live", "Whether the process answers.", answers=document_answer(Health), open_to_all=True),
        open_to_all=True,
    ),
    Route(
        "GET",
        "/health/ready",
        ready,
        operation(
            "ready",
            "Whether a recording would be heard now.",
            answers=document_answer(Health) | problems(503),
            open_to_all=True,
        ),
        open_to_all=True,
    ),
    Route(
        "GET",
        "/metrics",
        metrics,
        operation(
            "metrics", "What the service counts, for Prometheus.", answers=plain_answer("text/plain") | problems(401)
        ),
    ),
)
