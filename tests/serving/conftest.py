"""A real server process on a free port, and recordings as bytes."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from serving.http.app import ServiceApp, create_app
from serving.settings import ServingOptions

START_SECONDS = 60.0
MAX_BODY_BYTES = 2_000_000
MAX_AUDIO_SECONDS = 120.0


@dataclass
class RunningServer:
    """A server that said it is ready."""

    process: subprocess.Popen[str]
    url: str
    port: int


def start_server(bundle: Path, folder: Path, *flags: str) -> RunningServer:
    """Start `python -m serving` and wait until it has written its port."""
    port_file = folder / "port"
    command = [sys.executable, "-m", "serving", "--bundle", str(bundle), "--port", "0", "--port-file", str(port_file)]
    process = subprocess.Popen(
        [*command, "--device", "cpu", "--set", "num_threads=1", "--set", "request_log=false", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    deadline = time.monotonic() + START_SECONDS
    while not port_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"the server did not start: {process.communicate()[0]}")
        time.sleep(0.02)
    port = int(port_file.read_text())
    return RunningServer(process, f"http://127.0.0.1:{port}", port)


def stop_server(server: RunningServer) -> int:
    """SIGTERM, then the exit code; killed when it does not go."""
    server.process.terminate()
    try:
        return server.process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        server.process.kill()
        raise


@pytest.fixture(scope="session")
def server(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    limits = [f"max_body_bytes={MAX_BODY_BYTES}", f"max_audio_seconds={MAX_AUDIO_SECONDS}"]
    flags = [flag for limit in limits for flag in ("--set", limit)]
    running = start_server(tiny_bundle, tmp_path_factory.mktemp("server"), *flags)
    yield running
    assert stop_server(running) == 0
    assert running.process.stdout is not None
    output = running.process.stdout.read()
    assert "Traceback" not in output, output


@contextmanager
def servers(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningServer]]:
    """What starts servers; those that still run at the end are killed."""
    started: list[RunningServer] = []

    def start(*flags: str, bundle: Path = tiny_bundle) -> RunningServer:
        started.append(start_server(bundle, tmp_path_factory.mktemp("server"), *flags))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
        running.process.communicate()


@pytest.fixture
def new_server(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningServer]]:
    """Start a server that the test may stop."""
    with servers(tiny_bundle, tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module")
def module_server(
    tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., RunningServer]]:
    """Start a server for all tests of a file."""
    with servers(tiny_bundle, tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as session:
        yield session


def tone(duration: float, *spans: tuple[float, float], sample_rate: int = 16000) -> NDArray[np.float32]:
    """Silence of `duration` seconds with a tone in each span of seconds."""
    time_axis = np.arange(round(duration * sample_rate)) / sample_rate
    inside = np.zeros(len(time_axis), dtype=bool)
    for onset, offset in spans:
        inside |= (time_axis >= onset) & (time_axis < offset)
    return np.where(inside, 0.9 * np.sin(2 * np.pi * 440 * time_axis), 0).astype(np.float32)


def audio_bytes(
    waveform: NDArray[np.float32], container: str = "WAV", subtype: str | None = None, sample_rate: int = 16000
) -> bytes:
    """The bytes of an audio file with `waveform`: (samples,) or (samples, channels)."""
    stream = io.BytesIO()
    soundfile.write(stream, waveform, sample_rate, format=container, subtype=subtype)
    return stream.getvalue()


@pytest.fixture(scope="session")
def make_tone() -> Callable[..., NDArray[np.float32]]:
    return tone


@pytest.fixture(scope="session")
def make_bytes() -> Callable[..., bytes]:
    return audio_bytes


@pytest.fixture(scope="session")
def ten_seconds() -> bytes:
    """A 320 kB PCM16 WAV of 10 s at 16 kHz with a tone from 2 to 5 s."""
    return audio_bytes(tone(10, (2.0, 5.0)), subtype="PCM_16")


Story = Callable[[httpx.AsyncClient, ServiceApp], Awaitable[None]]


@pytest.fixture(scope="session")
def ask_app(tiny_bundle: Path) -> Callable[..., None]:
    """Let a story ask an application of its own, in this process, with these settings and a warm model."""

    async def tell(story: Story, settings: ServingOptions) -> None:
        app = create_app(settings)
        engine = app.state.engine
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30) as session:
            try:
                engine.start()
                await asyncio.wrap_future(engine.loaded)
                await story(session, app)
            finally:
                engine.close()

    def ask(story: Story, **values: Any) -> None:
        settings = {"bundle": tiny_bundle, "device": "cpu", "num_threads": 1, "request_log": False}
        asyncio.run(tell(story, ServingOptions(**{**settings, **values})))

    return ask
