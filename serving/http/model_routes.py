"""GET /v1/models, GET /v1/models/{id}, POST /v1/models/{id}/reload: which models listen, and what they are."""

from __future__ import annotations

from typing import Any

from desed_task.errors import DesedTaskError
from serving.errors import RequestError
from serving.http.answers import identity_document, json_answer
from serving.http.calls import Answer, Call, Route
from serving.http.keys import require_operator
from serving.http.operations import document_answer, operation, path_parameter, problems
from serving.http.schemas import ModelDescription, ModelList
from serving.inference.models import ServedModel

_ID = path_parameter("id", "id of a model, as GET /v1/models lists it")


async def models(call: Call) -> Answer:
    """The models that are served, the default one first."""
    engine = call.services.engine
    engine.model()  # refuses while none is there
    return json_answer({"models": [model_document(model) for model in engine.models()]})


async def one_model(call: Call) -> Answer:
    """One model."""
    return json_answer(model_document(call.services.engine.model(call.path_values["id"])))


async def reload(call: Call) -> Answer:
    """Read a model's bundle again; the old one answers until the new one is warm, and goes on when that fails."""
    require_operator(call.services.keys, call.key)
    engine = call.services.engine
    try:
        model = await engine.reload(engine.model(call.path_values["id"]).id)
    except DesedTaskError as error:
        raise RequestError(409, "reload_failed", f"{error}; the old model goes on") from None
    return json_answer(model_document(model))


def model_document(model: ServedModel) -> dict[str, Any]:
    """What a model is."""
    bundle = model.bundle
    return {
        **identity_document(bundle, model.id),
        "labels": list(bundle.labels),
        "sample_rate": bundle.sample_rate,
        "frame_seconds": bundle.grid.frame_seconds,
        "window_seconds": bundle.windowing.window_seconds,
        "postprocessing": bundle.postprocessing.model_dump(mode="json"),
        "licence": bundle.provenance.get("licence"),
        "provider": model.provider,
        "has_events": bundle.has_frames,
    }


ROUTES = (
    Route(
        "GET",
        "/v1/models",
        models,
        operation(
            "models",
            "The models that are served, the default one first.",
            answers=document_answer(ModelList) | problems(401, 500, 503),
        ),
    ),
    Route(
        "GET",
        "/v1/models/{id}",
        one_model,
        operation(
            "model",
            "One model.",
            parameters=[_ID],
            answers=document_answer(ModelDescription) | problems(401, 404, 500, 503),
        ),
    ),
    Route(
        "POST",
        "/v1/models/{id}/reload",
        reload,
        operation(
            "reload",
            "Read a model's bundle again, with an operator's key; the old one answers until the new one is warm.",
            parameters=[_ID],
            answers=document_answer(ModelDescription) | problems(401, 403, 404, 409, 500, 503),
        ),
    ),
)
