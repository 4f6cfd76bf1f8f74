"""Requests leave nothing for the collector of circles: at thousands of them, it would stop the event loop."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.http.app import create_app
from serving.http.connections import ServiceConfig
from serving.http.life_cycle import ServiceServer
from serving.settings import ServingOptions, SimulatedOptions

NUM_REQUESTS = 12
# One second of samples; each is heard, by a device that takes so long that the client's leaving is watched for.
HEARD = b"\0\0" * 16_000
DEVICE_MS = 80


@pytest.fixture
def collected() -> Iterator[list[object]]:
    """What is only found by the collector, from now on."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes, content_type: str) -> int:
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    return int(answer.split()[1])


@pytest.mark.parametrize(
    ("kind", "status"),
    [("samples", 200), ("FLAC", 200), ("words", 415), ("cut FLAC", 200), ("cut OGG", 422), ("nothing", 422)],
)
def test_a_request_leaves_no_circle(
    tiny_bundle: Path, collected: list[object], make_bytes: Callable[..., bytes], kind: str, status: int
) -> None:
    content_type = "audio/pcm;rate=16000;channels=1" if kind == "samples" else "application/octet-stream"
    noise = np.random.default_rng(0).normal(size=16_000).clip(-3, 3).astype(np.float32) / 4
    bodies = {"samples": HEARD, "words": b"no audio" * 10, "nothing": b""}
    body = bodies[kind] if kind in bodies else make_bytes(noise, kind.rsplit(maxsplit=1)[-1])
    body = body[: len(body) // 2] if kind.startswith("cut") else body
    simulated = SimulatedOptions(base_ms=DEVICE_MS, row_ms=0)
    settings = ServingOptions(bundle=tiny_bundle, device="cpu", request_log=False, simulated=simulated)

    async def story() -> None:
        app = create_app(settings)
        config = ServiceConfig(app, head_seconds=5, log_config=None, log_level="warning", interface="asgi3", ws="none")
        server = ServiceServer(config, app, 0.0, 5)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await asyncio.sleep(0.1)
            await asyncio.wrap_future(app.state.engine.loaded)
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            assert await ask(reader, writer, body, content_type) == status
            gc.collect()
            collected.clear()
            for _ in range(NUM_REQUESTS):
                assert await ask(reader, writer, body, content_type) == status
            gc.collect()
            kinds = Counter(type(one).__name__ for one in collected)
            writer.close()
            server.should_exit = True
            await serving
        assert not [name for name, number in kinds.items() if number >= NUM_REQUESTS // 2], kinds

    asyncio.run(story())
