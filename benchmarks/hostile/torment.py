"""Hostile bodies sent to a server by the thousand, each told by a name from which it can be made again, while somebody
else sends a sound clip every second and is answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np

from benchmarks.hostile.corpus import HostileFile, decodable, hostile_files
from benchmarks.hostile.mutations import MAGIC_BYTES, mutate
from benchmarks.hostile.verdicts import fault_of
from benchmarks.hostile.whole_files import encode, sweep
from benchmarks.load_answers import Answer
from benchmarks.serving_load import Request, build_request

PATHS = (
    "/v1/events",
    "/v1/tags",
    "/v1/events?strict=true",
    "/v1/events?frames=true&top_k=1",
    "/hf/audio-classification",
)
CLIP_SECONDS = 3


def corpus_requests(files: Sequence[HostileFile], path: str = PATHS[0]) -> Iterator[Request]:
    """Each file once."""
    for file in files:
        yield build_request(f"{file.name} {path}", path, file.content, file.content_type)


def mutation_requests(number: int, seed: int) -> Iterator[Request]:
    """So many mutations of the corpus, at the routes in turn."""
    for index in range(number):
        yield build_request(f"mutation {seed}.{index}", PATHS[index % len(PATHS)], mutation(seed, index))


def mutation(seed: int, index: int) -> bytes:
    """The body of the request that is called `mutation SEED.INDEX`."""
    originals = [content for content in decodable(hostile_files()) if len(content) > MAGIC_BYTES]
    rng = np.random.default_rng((seed, index))
    one, other = rng.integers(len(originals), size=2)
    return mutate(originals[one], originals[other], rng)


def faults_of(answers: Sequence[Answer]) -> list[str]:
    """What is wrong with answers, by the names of their requests."""
    judged = ((answer, fault_of(answer.status, answer.content_type, answer.body)) for answer in answers)
    return [f"{answer.kind}: {fault} {answer.fault}".rstrip() for answer, fault in judged if fault is not None]


@dataclass
class Clips:
    """A sound clip that was sent every second: how long each took, and what was wrong with answers."""

    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@contextmanager
def clip_every_second(url: str, every: float = 1.0) -> Iterator[Clips]:
    """Meanwhile, and until the end, which waits for the last answer."""
    clips, done = Clips(), threading.Event()
    content = encode(sweep(CLIP_SECONDS * 16_000), "WAV", "PCM_16")
    with httpx.Client(timeout=60) as client:
        expected = client.post(f"{url}/v1/events", content=content).raise_for_status().json()["tags"]

        def send() -> None:
            while not done.wait(every):
                start = time.monotonic()
                try:
                    answer = client.post(f"{url}/v1/events", content=content)
                except httpx.HTTPError as error:
                    clips.faults.append(repr(error))
                    continue
                clips.seconds.append(time.monotonic() - start)
                if answer.status_code != 200 or answer.json()["tags"] != expected:
                    clips.faults.append(f"{answer.status_code}: {answer.text[:300]}")

        sender = threading.Thread(target=send)
        sender.start()
        try:
            yield clips
        finally:
            done.set()
            sender.join()
