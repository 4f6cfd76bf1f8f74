"""What an operator may choose: which bundle, where to listen, which device, and the limits of one request."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from desed_task.options import Options


class ServingOptions(Options):
    """The settings of one server."""

    bundle: Path = Field(description="folder of the bundle that is served")
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 is every interface")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    device: str = Field("auto", description="auto, cpu or cuda:N; one that was asked for by name is never replaced")
    num_threads: int | None = Field(None, ge=1, description="threads of one inference on the CPU; null takes all cores")
    decode_threads: int = Field(2, ge=1, description="recordings that are decoded at the same time")
    max_batch: int = Field(16, ge=1, description="windows per call of the model")
    max_body_bytes: int = Field(25_000_000, ge=1, description="largest body of a request, in bytes")
    max_audio_seconds: float = Field(600.0, gt=0, description="longest recording, in seconds after decoding")
    top_k: int | None = Field(None, ge=1, description="tags in an answer when the request does not say; null gives all")
    drain_seconds: int = Field(30, ge=1, description="how long requests in progress may take after SIGTERM")
