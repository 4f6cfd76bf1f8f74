"""create_app: settings -> the ASGI application. The models are loaded after the application has started to listen.

Our routes stand in a table (`openapi.ROUTES`) that the gate reads; the framework around it runs the life of the
application, answers what no route has, and takes further routers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from desed_task.errors import DesedTaskError
from serving.errors import PROBLEM_JSON, RequestError, refusal_of
from serving.http.asgi import Gate
from serving.http.calls import Receive, Scope, Send, Services
from serving.http.keys import KeyRing
from serving.http.openapi import API_VERSION, ROUTES
from serving.http.quotas import Quotas
from serving.http.tracing import build_tracer
from serving.inference.engine import Engine
from serving.metrics import Metrics
from serving.settings import ServingOptions


class ServiceApp(FastAPI):
    """A FastAPI application behind a gate."""

    def __init__(self, services: Services, **options: Any) -> None:
        super().__init__(**options)
        self.state.engine = services.engine
        self.state.settings = services.settings
        self.state.metrics = services.metrics
        self.state.services = services
        self.gate = Gate(services, ROUTES, super().__call__)

    def read_keys(self) -> bool:
        """The keys from now on are what the file holds now; OptionsError, and no change, when it is not right.

        Returns whether there is such a file.
        """
        services = self.state.services
        if services.keys is not None:
            services.keys = KeyRing.read(services.settings.keys_file)
        return services.keys is not None

    def say_stopping(self) -> None:
        """From now on /health/ready says that the server is stopping."""
        self.state.services.stopping = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Through the gate."""
        await self.gate(scope, receive, send)


def create_app(settings: ServingOptions) -> ServiceApp:
    """The application for `settings`; its engine is `app.state.engine`, started and closed with the application.

    OptionsError when the file of keys cannot be read, or spans cannot be sent.
    """
    metrics = Metrics()
    engine = Engine(settings, metrics)
    keys = None if settings.keys_file is None else KeyRing.read(settings.keys_file)
    tracer = build_tracer(settings.tracing_endpoint)
    services = Services(settings, engine, metrics, keys, Quotas(), tracer)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        engine.close()
        if tracer is not None:
            tracer.close()

    app = ServiceApp(
        services,
        title="Sound event detection",
        version=API_VERSION,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    for kind in (RequestError, DesedTaskError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _refused)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    """What the framework, or a router that it holds, refuses."""
    request_id = getattr(request.state, "request_id", "")
    refusal = refusal_of(error, request.method, request.url.path, request_id)
    request.state.problem_code = refusal.document["code"]
    response = Response(refusal.body, refusal.status, media_type=PROBLEM_JSON)
    response.raw_headers.extend(refusal.headers)
    return response
