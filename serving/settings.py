"""What an operator may choose: which bundle, where to listen, which device, and the limits of one request."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from desed_task.options import Options


class SimulatedOptions(Options):
    """A device of load tests: it sleeps instead of running the graph, and hears nothing."""

    base_ms: float = Field(3.0, ge=0, description="milliseconds of every batch")
    row_ms: float = Field(0.25, ge=0, description="milliseconds that each window of a batch adds")


class ServingOptions(Options):
    """The settings of one server."""

    bundle: Path = Field(description="folder of the bundle that is served, to requests that name no model")
    models: dict[str, Path] = Field({}, description="folders of further bundles, by the id that requests name")
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 is every interface")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    device: str = Field("auto", description="auto, cpu or cuda:N; one that was asked for by name is never replaced")
    allow_cpu: bool = Field(False, description="whether a device cuda:N that cannot be had is replaced by the CPU")
    num_threads: int | None = Field(None, ge=1, description="threads of one inference on the CPU; null takes all cores")
    max_batch: int = Field(16, ge=1, description="windows per call of the model")
    buckets: tuple[int, ...] | None = Field(
        None, description="sizes that batches are filled up to, warmed at the start; null takes the powers of two"
    )
    cuda_graphs: bool = Field(False, description="whether a CUDA device records each bucket once and replays it")
    simulated: SimulatedOptions | None = Field(
        None, description="for load tests: a device that sleeps in the place of the model; null runs the model"
    )
    decode_threads: int = Field(2, ge=1, description="recordings that are decoded at the same time")
    long_threads: int = Field(
        1, ge=1, description="threads, of low priority, for recordings that are longer than a few windows"
    )
    windows_ahead: int = Field(16, ge=1, description="windows of one recording that may wait for the model or run")
    max_long_recordings: int = Field(64, ge=1, description="recordings longer than a few windows at the same time")
    decode_isolation: Literal["thread", "process"] = Field(
        "thread", description="process: a decoder that crashes takes only its own recording with it"
    )
    decode_memory_bytes: int = Field(
        1_000_000_000, ge=1, description="memory that an isolated decode process may add to what it starts with"
    )
    decode_cpu_seconds: int = Field(
        60, ge=1, description="processor seconds that an isolated decode process may spend on one recording"
    )
    max_queue_delay: float = Field(
        5.0, gt=0, description="longest wait, in seconds at the measured speed, for which requests are still taken"
    )
    max_inflight_bytes: int = Field(512_000_000, ge=1, description="bytes of all bodies that are held at one time")
    max_body_bytes: int = Field(25_000_000, ge=1, description="largest body of a request, in bytes")
    max_audio_seconds: float = Field(600.0, gt=0, description="longest recording, in seconds after decoding")
    max_channels: int = Field(64, ge=1, description="channels of a recording")
    max_batch_files: int = Field(64, ge=1, description="recordings of one POST /v1/batch")
    body_idle_seconds: float = Field(10.0, gt=0, description="a body of which nothing arrives for so long is refused")
    min_body_rate: float = Field(1000.0, ge=0, description="bytes per second that a body has to arrive with")
    deadline_seconds: float = Field(
        30.0, gt=0, description="how long a recording may take once its body is there, when the request does not say"
    )
    top_k: int | None = Field(None, ge=1, description="tags in an answer when the request does not say; null gives all")
    drain_grace_seconds: float = Field(
        1.0, ge=0, description="how long requests are still taken after SIGTERM, for balancers to notice"
    )
    drain_seconds: int = Field(30, ge=1, description="how long requests in progress may take after that")
    keep_alive_seconds: int = Field(
        75,
        ge=1,
        description="how long an idle connection stays open, longer than those of balancers; one whose client takes "
        "nothing of its answer for so long is cut",
    )
    head_seconds: float = Field(10.0, gt=0, description="how long the line and headers of a request may take to arrive")
    backlog: int = Field(2048, ge=1, description="connections that the system holds until they are accepted")
    tracing_endpoint: str | None = Field(
        None,
        description="where spans go by OTLP over HTTP, such as http://localhost:4318/v1/traces; null traces nothing",
    )
    keys_file: Path | None = Field(None, description="file of the API keys that may ask; null lets everybody ask")
    cors_origins: tuple[str, ...] = Field((), description="origins whose pages may ask from a browser; * is every one")
    request_log: bool = Field(True, description="whether each request is a line of JSON on standard error")
