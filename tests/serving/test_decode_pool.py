"""Decoding in processes of its own: the same blocks, crashes that stay where they are, and nothing left behind."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from desed_task.audio.limits import DecodeLimits
from desed_task.audio.raw_pcm import RawPcm
from desed_task.audio.stream import open_stream
from desed_task.errors import AudioError, AudioFormatError, AudioTooLongError
from serving.errors import RequestError
from serving.inference.decode_pool import DecodePool, DecoderStoppedError, ProcessStream
from serving.inference.decoders import Decoder, Nursery
from serving.inference.engine import Engine
from serving.inference.recording import Heard, ListenRequest
from serving.settings import ServingOptions, SimulatedOptions

RATE = 16000
LIMITS = DecodeLimits(max_seconds=600.0, max_channels=64)


@pytest.fixture(scope="module")
def settings(tiny_bundle: Path) -> ServingOptions:
    return ServingOptions(
        bundle=tiny_bundle,
        decode_isolation="process",
        simulated=SimulatedOptions(base_ms=0, row_ms=0),
        decode_cpu_seconds=1,
        max_queue_delay=1000.0,
    )


@pytest.fixture(scope="module")
def pool(settings: ServingOptions) -> Iterator[DecodePool]:
    pool = DecodePool(settings)
    pool.start()
    yield pool
    pids = [nursery_pid(pool), *children_of(nursery_pid(pool))]
    pool.close()
    wait_until(lambda: not any(is_running(pid) for pid in pids))


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def nursery_pid(pool: DecodePool) -> int:
    assert pool._nursery is not None
    return pool._nursery._process.pid


def children_of(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


def open_files(pid: int) -> list[str]:
    targets = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            targets.append(str(link.readlink()).partition(":")[0])
        except FileNotFoundError:  # closed meanwhile
            continue
    return sorted(targets)


def has_only_its_socket(pid: int) -> bool:
    return open_files(pid) == ["/dev/null"] * 3 + ["socket"]


def read_all(stream: Any) -> tuple[Any, Any, tuple[str, ...]]:
    blocks = list(stream)
    stream.close()
    return np.concatenate(blocks), stream.info, stream.warnings


def test_the_blocks_are_those_of_the_same_process(
    pool: DecodePool, tmp_path: Path, make_tone: Callable[..., Any], make_bytes: Callable[..., bytes]
) -> None:
    stereo = np.stack([make_tone(25.0, (1.0, 20.0), sample_rate=44100)] * 2, axis=1)
    for body in (make_bytes(stereo, "FLAC", None, 44100), make_bytes(make_tone(3.0, (0.0, 1.0)))):
        expected = read_all(open_stream(body, RATE, LIMITS))
        (tmp_path / "body").write_bytes(body)
        with (tmp_path / "body").open("rb") as file:
            for form in (body, file):
                stream = pool(form, RATE, ListenRequest())
                assert stream.claimed_seconds == pytest.approx(expected[1].duration)
                samples, info, warnings = read_all(stream)
                np.testing.assert_array_equal(samples, expected[0])
                assert (info, warnings) == expected[1:]


def test_raw_samples_and_truncated_recordings_are_decoded_alike(
    pool: DecodePool, make_bytes: Callable[..., bytes]
) -> None:
    samples, info, _ = read_all(pool(b"\x00\x40" * 800, RATE, ListenRequest(raw=RawPcm(8000))))
    assert (len(samples), info.duration, info.format) == (1600, 0.1, "PCM")
    cut = make_bytes(np.zeros(RATE * 2, np.float32), "WAV", "PCM_16")[:-RATE]
    with pytest.raises(AudioError, match="truncated"):
        list(pool(cut, RATE, ListenRequest()))
    _, info, warnings = read_all(pool(cut, RATE, ListenRequest(strict=False)))
    assert info.duration == 1.5
    assert warnings == read_all(open_stream(cut, RATE, DecodeLimits(strict=False)))[2] != ()


@pytest.mark.parametrize(
    ("body", "error"), [(b"", AudioError), (b"woof" * 9, AudioFormatError), (b"fLaC" + bytes(range(200)), AudioError)]
)
def test_refusals_are_those_of_the_same_process(pool: DecodePool, body: bytes, error: type[AudioError]) -> None:
    with pytest.raises(AudioError) as here:
        list(open_stream(body, RATE, LIMITS))
    with pytest.raises(AudioError) as there:
        list(pool(body, RATE, ListenRequest()))
    assert (type(there.value), str(there.value)) == (type(here.value), str(here.value)) and type(here.value) is error


def test_the_limit_of_length_holds(pool: DecodePool, make_bytes: Callable[..., bytes]) -> None:
    body = make_bytes(np.zeros(700 * 8000, np.float32), "FLAC", None, 8000)
    with pytest.raises(AudioTooLongError):
        list(pool(body, RATE, ListenRequest()))


def long_body(make_bytes: Callable[..., bytes]) -> bytes:
    """Two minutes, of which the socket holds but a part."""
    return make_bytes(np.random.default_rng(1).normal(0, 0.1, 120 * RATE).astype(np.float32), "WAV", "PCM_16")


def test_a_decoder_that_is_killed_fails_its_own_recording_only(
    pool: DecodePool, make_bytes: Callable[..., bytes]
) -> None:
    body = long_body(make_bytes)
    one, other = pool(body, RATE, ListenRequest()), pool(body, RATE, ListenRequest())
    assert one._decoder is not None and other._decoder is not None
    assert one._decoder.pid != other._decoder.pid
    os.kill(one._decoder.pid, signal.SIGKILL)
    with pytest.raises(DecoderStoppedError, match="the decoder stopped"):
        list(one)
    assert len(read_all(other)[0]) == 120 * RATE
    assert len(read_all(pool(body, RATE, ListenRequest()))[0]) == 120 * RATE


def test_decoders_that_died_waiting_are_replaced(pool: DecodePool, make_bytes: Callable[..., bytes]) -> None:
    body = make_bytes(np.zeros(RATE, np.float32))
    read_all(pool(body, RATE, ListenRequest()))
    for pid in pool.idle_pids:
        os.kill(pid, signal.SIGKILL)
    for _ in range(3):
        assert len(read_all(pool(body, RATE, ListenRequest()))[0]) == RATE


def test_a_nursery_that_was_killed_is_replaced(settings: ServingOptions, make_bytes: Callable[..., bytes]) -> None:
    pool = DecodePool(settings)
    pool.start()
    decoders, old = pool.idle_pids, nursery_pid(pool)
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: not any(is_running(pid) for pid in decoders))
    assert len(read_all(pool(make_bytes(np.zeros(RATE, np.float32)), RATE, ListenRequest()))[0]) == RATE
    assert nursery_pid(pool) != old
    pool.close()


def still_born() -> socket.socket:
    ours, theirs = socket.socketpair()
    theirs.close()
    return ours


def no_descriptor() -> socket.socket:
    raise OSError(errno.EMFILE, "too many open files")


@pytest.mark.parametrize("failing_fork", [still_born, no_descriptor])
def test_a_decoder_that_cannot_be_had_takes_no_other_with_it(
    pool: DecodePool,
    make_bytes: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
    failing_fork: Callable[[], socket.socket],
) -> None:
    other, nursery = pool(long_body(make_bytes), RATE, ListenRequest()), nursery_pid(pool)
    fork, failures = Nursery.fork, [failing_fork]
    monkeypatch.setattr(Nursery, "fork", lambda self: failures.pop()() if failures else fork(self))
    while (idle := pool._take_idle()) is not None:
        idle.end()
    assert len(read_all(pool(make_bytes(np.zeros(RATE, np.float32)), RATE, ListenRequest()))[0]) == RATE
    assert not failures
    assert len(read_all(other)[0]) == 120 * RATE
    assert nursery_pid(pool) == nursery


NURSERY = """
import os
from serving.inference import decode_process
fork = os.fork
def fork_next_time():
    os.fork = fork
    raise BlockingIOError(11, "no more processes")
os.fork = fork_next_time
decode_process.main()
"""


def test_a_nursery_that_cannot_fork_goes_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    popen = subprocess.Popen

    def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return popen([command[0], "-c", NURSERY, *command[3:]], cwd=project, **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    nursery = Nursery(1_000_000_000)
    with pytest.raises(EOFError):
        Decoder(nursery.fork())
    assert is_running(Decoder(nursery.fork()).pid)
    nursery.end()


def test_a_decoder_that_hangs_is_waited_for_until_the_deadline(
    pool: DecodePool, make_bytes: Callable[..., bytes]
) -> None:
    body = make_bytes(np.zeros(RATE, np.float32))
    read_all(pool(body, RATE, ListenRequest()))
    hanging = pool.idle_pids
    for pid in hanging:
        os.kill(pid, signal.SIGSTOP)
    begun = time.monotonic()
    assert len(read_all(pool(body, RATE, ListenRequest(deadline=begun + 1.5)))[0]) == RATE
    assert 1.4 < time.monotonic() - begun < 10
    for pid in hanging:
        os.kill(pid, signal.SIGKILL)


def test_an_engine_whose_decoders_hang_can_be_closed(
    settings: ServingOptions, make_bytes: Callable[..., bytes]
) -> None:
    body = make_bytes(np.zeros(RATE, np.float32))

    async def story() -> None:
        engine = Engine(settings)
        engine.start()
        await asyncio.wrap_future(engine.loaded)
        assert engine._decode_pool is not None
        for pid in engine._decode_pool.idle_pids:
            os.kill(pid, signal.SIGSTOP)
        task = asyncio.create_task(engine.listen(body, ListenRequest()))
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        engine.close()
        assert time.monotonic() - begun < 10
        with pytest.raises(RequestError, match="stopping"):
            await task

    asyncio.run(story())


def test_a_recording_that_is_given_up_ends_its_decoder(pool: DecodePool, make_bytes: Callable[..., bytes]) -> None:
    stream = pool(long_body(make_bytes), RATE, ListenRequest())
    next(iter(stream))
    assert stream._decoder is not None
    pid = stream._decoder.pid
    stream.close()
    wait_until(lambda: not is_running(pid))


WILD_DECODER = """
import socket, sys
from serving.inference import decode_process
def run_wild(*_):
    {deed}
decode_process.open_stream = run_wild
decode_process._limit_memory(200_000_000)
decode_process._serve(socket.socket(fileno=int(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("deed", "refusal"),
    [("while True: pass", "the decoder stopped"), ("bytearray(1 << 31)", "needs too much memory")],
    ids=["time", "memory"],
)
def test_a_decoder_that_takes_too_much_is_stopped(project: Path, deed: str, refusal: str) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-c", WILD_DECODER.format(deed=deed), str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=project)
    order = {"sample_rate": RATE, "limits": {"containers": []}, "name": "wild", "raw": None, "cpu_seconds": 0}
    decoder = Decoder(ours)
    with pytest.raises(AudioError, match=refusal):
        ProcessStream(decoder, Decoder.end, b"x", order, 30)
    process.wait(20)


def test_neither_the_nursery_nor_a_decoder_has_an_open_file_of_the_server(
    pool: DecodePool, make_bytes: Callable[..., bytes]
) -> None:
    read_all(pool(make_bytes(np.zeros(RATE, np.float32)), RATE, ListenRequest()))
    assert pool.idle_pids
    with socket.create_server(("127.0.0.1", 0)):
        for pid in (nursery_pid(pool), *pool.idle_pids):
            # the last body is closed a moment after its last block was sent
            wait_until(partial(has_only_its_socket, pid))


def test_a_killed_decoder_is_one_refusal_among_many_answers(
    settings: ServingOptions, make_bytes: Callable[..., bytes]
) -> None:
    body = make_bytes(np.zeros(20 * RATE, np.float32), "FLAC")

    async def story() -> None:
        engine = Engine(settings)
        engine.start()
        await asyncio.wrap_future(engine.loaded)
        assert engine._decode_pool is not None
        nursery = nursery_pid(engine._decode_pool)
        tasks = [asyncio.create_task(engine.listen(body, ListenRequest())) for _ in range(60)]
        for _ in range(3):
            await asyncio.sleep(0.05)
            os.kill(children_of(nursery)[0], signal.SIGKILL)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        failed = [outcome for outcome in outcomes if not isinstance(outcome, Heard)]
        assert len(failed) <= 3
        assert all(isinstance(outcome, DecoderStoppedError) for outcome in failed)
        engine.close()
        wait_until(lambda: not is_running(nursery))

    asyncio.run(story())


SERVER = """
import asyncio, sys
from pathlib import Path
from serving.inference.engine import Engine
from serving.settings import ServingOptions
async def main():
    engine = Engine(ServingOptions(bundle=Path(sys.argv[1]), decode_isolation="process", simulated={}))
    engine.start()
    await asyncio.wrap_future(engine.loaded)
    print(engine._decode_pool._nursery._process.pid, *engine._decode_pool.idle_pids, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_server_leaves_no_processes(tiny_bundle: Path, project: Path, number: int) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tiny_bundle)], stdout=subprocess.PIPE, text=True, cwd=project
    )
    assert server.stdout is not None
    pids = [int(word) for word in server.stdout.readline().split()]
    assert len(pids) == 3 and all(is_running(pid) for pid in pids)
    # What is meant for the server does not end what works for it.
    os.kill(pids[1], signal.SIGTERM)
    os.kill(pids[0], signal.SIGINT)
    time.sleep(0.1)
    assert all(is_running(pid) for pid in pids)
    server.send_signal(number)
    server.communicate(timeout=20)
    wait_until(lambda: not any(is_running(pid) for pid in pids))
