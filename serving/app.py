"""create_app: settings -> the ASGI application. The model is loaded after the application has started to listen."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from serving.engine import Engine
from serving.errors import install_error_handlers
from serving.routes import router
from serving.settings import ServingOptions


def create_app(settings: ServingOptions) -> FastAPI:
    """The application for `settings`; its engine is `app.state.engine`, started and closed with the application."""
    engine = Engine(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        engine.close()

    app = FastAPI(
        title="Sound event detection",
        description="Post a recording, get timestamped events and clip tags.",
        version=_version(),
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.engine = engine
    app.state.settings = settings
    install_error_handlers(app)
    app.include_router(router)
    return app


def _version() -> str:
    try:
        return importlib.metadata.version("desed-task")
    except importlib.metadata.PackageNotFoundError:
        return "0"
