"""The routes: read the request, ask the engine, shape the answer."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from desed_task.hearing import DetectionOptions
from serving.engine import Engine
from serving.errors import PROBLEM_JSON, body_too_large, not_ready
from serving.recording import ListenRequest
from serving.schemas import EventsAnswer, EventsQuery, Health, ModelDescription, ModelIdentity, ModelList, Problem
from serving.settings import ServingOptions

router = APIRouter()


# Not async, they would each cost a hop to the framework's thread pool.
async def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


async def _settings(request: Request) -> ServingOptions:
    settings: ServingOptions = request.app.state.settings
    return settings


TheEngine = Annotated[Engine, Depends(_engine)]
TheSettings = Annotated[ServingOptions, Depends(_settings)]


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    reference = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {status: {"model": Problem, "content": {PROBLEM_JSON: reference}} for status in statuses}


_RAW_BODY = {
    "requestBody": {
        "required": True,
        "description": "the bytes of an audio file: WAV, FLAC, Ogg, MP3 or AIFF",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post("/v1/events", responses=_problems(413, 415, 422, 503), openapi_extra=_RAW_BODY)
async def events(
    request: Request, query: Annotated[EventsQuery, Query()], engine: TheEngine, settings: TheSettings
) -> EventsAnswer:
    """What happens when in the recording that is the body, and which classes it holds."""
    with engine.admit() as ticket:
        body = await _read_body(request, settings.max_body_bytes)
        options = DetectionOptions(thresholds=query.threshold)
        heard = await engine.listen(body, ListenRequest(options=options, ticket=ticket))
    return EventsAnswer.of(heard.model.bundle, heard.audio, heard.detections, query.top_k or settings.top_k)


@router.get("/v1/models", responses=_problems(503))
async def models(engine: TheEngine) -> ModelList:
    """The models that are served."""
    model = engine.model()
    bundle = model.bundle
    description = ModelDescription(
        **ModelIdentity.of(bundle).model_dump(),
        labels=list(bundle.labels),
        sample_rate=bundle.sample_rate,
        frame_seconds=bundle.grid.frame_seconds,
        window_seconds=bundle.windowing.window_seconds,
        postprocessing=bundle.postprocessing.model_dump(mode="json"),
        licence=bundle.provenance.get("licence"),
        provider=model.provider,
    )
    return ModelList(models=[description])


@router.get("/health/live")
async def live() -> Health:
    """Whether the process answers."""
    return Health(status="live")


@router.get("/health/ready", responses=_problems(503))
async def ready(engine: TheEngine) -> Health:
    """Whether a recording would be heard now: 503 until the model is warm."""
    if not engine.ready:
        raise not_ready("the model is not warm yet; try again soon")
    return Health(status="ready")


async def _read_body(request: Request, limit: int) -> bytes:
    """The whole body; refused by what its header claims before a byte is read, and by what arrives while it is read.

    The framework has a limit of its own (max_body_size), but answers it in plain text.
    """
    claimed = request.headers.get("content-length", "")
    if claimed.isdigit() and int(claimed) > limit:
        raise body_too_large(limit)
    chunks: list[bytes] = []
    num_bytes = 0
    async for chunk in request.stream():
        num_bytes += len(chunk)
        if num_bytes > limit:
            raise body_too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)
