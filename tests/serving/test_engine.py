"""The engine without HTTP, its device simulated where time matters: nothing is lost, mixed up or kept."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from desed_task.audio.raw_pcm import RawPcm
from desed_task.audio.stream import open_stream
from desed_task.audio.waveform import Waveform
from desed_task.detector import Detector
from desed_task.errors import AudioError, AudioFormatError, AudioTooLongError, BundleError, OptionsError
from desed_task.hearing import DetectionOptions, WindowScores
from serving.errors import RequestError
from serving.inference import models
from serving.inference.backlog import Measure
from serving.inference.engine import Engine
from serving.inference.recording import Heard, ListenRequest
from serving.inference.simulated import SimulatedDetector
from serving.settings import ServingOptions, SimulatedOptions

Story = Callable[[Engine], Awaitable[None]]
PCM = RawPcm(16000)
INSTANT = SimulatedOptions(base_ms=0, row_ms=0)


def pcm(seconds: float, value: int = 0) -> bytes:
    return np.full(round(seconds * 16000), value, dtype="<i2").tobytes()


class ToldDetector(SimulatedDetector):
    """Says the first sample of each window for every frame and class; a sample above 0.9 is a poisoned window, one
    below -0.9 makes it say NaN. `gate`, when closed, holds each batch."""

    gate = threading.Event()
    batches: list[list[float]] = []

    def run(self, windows: Sequence[Waveform]) -> WindowScores:
        said = [float(window[0]) for window in windows]
        if self.batches:
            assert self.gate.wait(30)
        self.batches.append(said)
        if max(said) > 0.9:
            raise RuntimeError("a poisoned window")
        column = np.array([np.nan if one < -0.9 else one for one in said], dtype=np.float32)[:, None]
        frames = np.repeat(column[:, None], self.bundle.windowing.window_frames, axis=1)
        return WindowScores(np.repeat(frames, 2, axis=2), np.repeat(column, 2, axis=1))


@pytest.fixture
def run(tiny_bundle: Path) -> Callable[..., None]:
    """Run a story with an engine; afterwards it holds nothing, and none of its threads is left."""

    def run(story: Story, **settings: Any) -> None:
        before = set(threading.enumerate())
        options = {"bundle": tiny_bundle, "device": "cpu", "num_threads": 1, "max_queue_delay": 1000.0, **settings}
        engine = Engine(ServingOptions(**options))

        async def whole() -> None:
            engine.start()
            try:
                await asyncio.wrap_future(engine.loaded)
                await asyncio.wait_for(story(engine), 60)
            finally:
                ToldDetector.gate.set()  # of a story that failed
                engine.close()

        asyncio.run(whole())
        assert engine._backlog.queued_seconds == 0.0
        assert (len(engine._recordings), engine._admission.num_tickets, engine._admission.inflight_bytes) == (0, 0, 0)
        assert not [thread.name for thread in set(threading.enumerate()) - before if thread.is_alive()]

    return run


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> type[ToldDetector]:
    monkeypatch.setattr(models, "SimulatedDetector", ToldDetector)
    monkeypatch.setattr(ToldDetector, "gate", threading.Event())
    monkeypatch.setattr(ToldDetector, "batches", [])
    ToldDetector.gate.set()
    return ToldDetector


async def listen(engine: Engine, body: bytes, **request: Any) -> Heard:
    with engine.admit(len(body)) as ticket:
        return await engine.listen(body, ListenRequest(ticket=ticket, raw=PCM, **request))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


# What is heard.


def test_what_is_heard_is_what_the_detector_says(
    run: Callable[..., None], tiny_bundle: Path, make_tone: Callable[..., Any], make_bytes: Callable[..., bytes]
) -> None:
    detector = Detector(tiny_bundle, device="cpu", num_threads=1)
    bodies = {
        "short": make_bytes(make_tone(3.0, (1.0, 2.0)), "WAV", "PCM_16"),
        "resampled": make_bytes(make_tone(12.0, (1.0, 11.0), sample_rate=44100), "FLAC", None, 44100),
        "minutes": make_bytes(make_tone(130.0, (1.0, 2.0), (8.0, 31.0), (129.0, 130.0)), "FLAC"),
    }
    options = DetectionOptions(frames=True)

    async def story(engine: Engine) -> None:
        tasks = [engine.listen(body, ListenRequest(options=options)) for body in bodies.values() for _ in range(3)]
        heard = await asyncio.gather(*tasks)
        for position, body in enumerate(bodies.values()):
            with open_stream(body, 16000) as stream:
                expected = detector.hear(stream, options)
                info = stream.info
            for answer in heard[3 * position : 3 * position + 3]:
                assert answer.audio == info
                assert [label for label, _ in answer.detections.tags] == [label for label, _ in expected.tags]
                assert answer.detections.events == expected.events
                assert answer.detections.frames is not None and expected.frames is not None
                np.testing.assert_allclose(answer.detections.frames, expected.frames, atol=1e-5)
                assert answer.timing.total >= answer.timing.decode > 0

    run(story)


def test_a_body_in_a_file_is_heard_as_its_bytes_and_may_be_closed_at_once(
    run: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / "body"
    path.write_bytes(pcm(70.0, 12000))

    async def story(engine: Engine) -> None:
        with path.open("rb") as body:
            from_file = await engine.listen(body, ListenRequest(raw=PCM))
        in_memory = await engine.listen(io.BytesIO(path.read_bytes()), ListenRequest(raw=PCM))
        assert from_file.detections.tags == in_memory.detections.tags
        assert from_file.audio.duration == 70.0
        with path.open("rb") as body:
            task = asyncio.create_task(engine.listen(body, ListenRequest(raw=PCM)))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(story)


def test_scores_go_to_the_recording_they_are_of(run: Callable[..., None], told: type[ToldDetector]) -> None:
    values = [round(0.8 * n / 200, 4) for n in range(200)]

    async def story(engine: Engine) -> None:
        heard = await asyncio.gather(*(listen(engine, pcm(1.0, round(v * 32768))) for v in values))
        for value, answer in zip(values, heard, strict=True):
            assert answer.detections.tags[0][1] == pytest.approx(value, abs=1e-4)

    run(story, simulated=INSTANT)
    assert max(len(batch) for batch in told.batches[1:]) > 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", AudioError),
        (b"woof woof woof", AudioFormatError),
        (b"RIFF\x00\x00\x00\x00WAVE", AudioError),
    ],
)
def test_what_is_no_recording_is_refused(run: Callable[..., None], body: bytes, error: type[Exception]) -> None:
    async def story(engine: Engine) -> None:
        with pytest.raises(error):
            await engine.listen(body, ListenRequest())

    run(story, simulated=INSTANT)


def test_a_recording_that_is_too_long_is_refused_while_it_is_decoded(
    run: Callable[..., None], make_bytes: Callable[..., bytes]
) -> None:
    body = make_bytes(np.zeros(300 * 8000, np.float32), "FLAC", None, 8000)

    async def story(engine: Engine) -> None:
        with pytest.raises(AudioTooLongError):
            await engine.listen(body, ListenRequest())

    run(story, simulated=INSTANT, max_audio_seconds=200.0)


def test_options_that_do_not_fit_are_refused(run: Callable[..., None]) -> None:
    async def story(engine: Engine) -> None:
        with pytest.raises(OptionsError, match="'cat' is not a class"):
            await listen(engine, pcm(1.0), options=DetectionOptions(labels=("cat",)))

    run(story, simulated=INSTANT)


# One window that is at fault.


def test_a_poisoned_window_fails_its_own_recording_only(run: Callable[..., None], told: type[ToldDetector]) -> None:
    async def story(engine: Engine) -> None:
        told.gate.clear()
        first = asyncio.create_task(listen(engine, pcm(1.0)))
        others = [asyncio.create_task(listen(engine, pcm(1.0, v))) for v in (1000, 32000, -32000, 2000)]
        await until(lambda: len(engine._backlog) == 5)
        await asyncio.sleep(0.05)
        told.gate.set()
        good, poisoned, nan, also_good = await asyncio.gather(*others, return_exceptions=True)
        await first
        assert isinstance(good, Heard) and isinstance(also_good, Heard)
        assert str(poisoned) == "a poisoned window"
        assert str(nan) == "tiny: a score is not finite"

    run(story, simulated=INSTANT)


# Recordings that nobody waits for.


def test_a_cancelled_recording_is_never_run(run: Callable[..., None], told: type[ToldDetector]) -> None:
    async def story(engine: Engine) -> None:
        told.gate.clear()
        running = asyncio.create_task(listen(engine, pcm(1.0, 100)))
        await until(lambda: len(engine._backlog) == 1)
        await asyncio.sleep(0.05)
        cancelled = asyncio.create_task(listen(engine, pcm(300.0, 200)))
        await asyncio.sleep(0.1)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        told.gate.set()
        await running
        assert engine._backlog.queued_seconds == 0.0
        await listen(engine, pcm(1.0, 300))
        assert engine._pump is not None
        pump = engine._pump
        await until(lambda: not pump._long_ones)

    run(story, simulated=INSTANT)
    said = {round(one * 32768) for batch in told.batches[1:] for one in batch}
    assert said == {100, 300}


def test_what_is_past_its_deadline_is_a_504_at_once_and_never_run(
    run: Callable[..., None], told: type[ToldDetector]
) -> None:
    async def story(engine: Engine) -> None:
        told.gate.clear()
        running = asyncio.create_task(listen(engine, pcm(1.0, 100)))
        await asyncio.sleep(0.05)
        begun = time.monotonic()
        with pytest.raises(RequestError) as late:
            await listen(engine, pcm(1.0, 200), deadline=time.monotonic() + 0.1)
        assert (late.value.status, late.value.code) == (504, "deadline_exceeded")
        assert 0.09 < time.monotonic() - begun < 5
        told.gate.set()
        await running
        await listen(engine, pcm(1.0, 300))

    run(story, simulated=INSTANT)
    assert {round(one * 32768) for batch in told.batches[1:] for one in batch} == {100, 300}


# Fairness and bounds.


def test_a_long_recording_holds_few_windows_and_lets_short_ones_pass(
    run: Callable[..., None], told: type[ToldDetector]
) -> None:
    async def story(engine: Engine) -> None:
        told.gate.clear()
        long_one = asyncio.create_task(listen(engine, pcm(590.0, 100)))
        await asyncio.sleep(0.3)
        (recording,) = engine._recordings
        assert recording.is_long
        assert 8 <= recording.outstanding <= 8 + 4
        short = [asyncio.create_task(listen(engine, pcm(2.0, 200))) for _ in range(4)]
        await asyncio.sleep(0.1)
        ran_before = len(told.batches)
        told.gate.set()
        await asyncio.gather(*short)
        assert not long_one.done()
        together = [batch for batch in told.batches[ran_before:] if any(one > 0.005 for one in batch)]
        assert told.batches.index(together[-1]) - ran_before <= 2
        assert (await long_one).audio.duration == 590.0

    run(story, simulated=SimulatedOptions(base_ms=0, row_ms=0), windows_ahead=8, max_batch=4)


def test_what_is_queued_lies_there_undecoded_and_is_heard_in_its_order(
    run: Callable[..., None], told: type[ToldDetector]
) -> None:
    heard: list[int] = []

    async def story(engine: Engine) -> None:
        told.gate.clear()

        async def hear(number: int) -> None:
            await listen(engine, pcm(12.0, number))
            heard.append(number)

        tasks = [asyncio.create_task(hear(100 + number)) for number in range(40)]
        await until(lambda: len(engine._recordings) == 40)
        await asyncio.sleep(0.3)
        windows = [recording.outstanding for recording in engine._recordings]
        # Of batches of four, four lie ready; each recording has two windows, and two threads decode.
        assert 16 <= sum(windows) - 4 <= 16 + 2 * 2
        waiting = [recording for recording in engine._recordings if recording.num_windows == 0]
        assert len(waiting) >= 25
        assert all(recording.body is not None for recording in waiting)
        tasks[-1].cancel()
        await asyncio.sleep(0)
        assert sum(recording.body is not None for recording in waiting) == len(waiting) - 1
        told.gate.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(story, simulated=INSTANT, max_batch=4)
    assert sorted(heard) == list(range(100, 139))
    # Those that are decoded take turns; one whose thread is held up by the system is overtaken by more.
    assert np.mean([abs(100 + place - number) for place, number in enumerate(heard)]) <= 4


def test_many_long_recordings_share_the_windows_that_lie_ready(
    run: Callable[..., None], told: type[ToldDetector]
) -> None:
    async def story(engine: Engine) -> None:
        told.gate.clear()
        tasks = [asyncio.create_task(listen(engine, pcm(200.0, 100))) for _ in range(8)]
        await until(lambda: sum(one.parked for one in engine._recordings) == 8)
        windows = sum(recording.outstanding for recording in engine._recordings)
        # Sixteen for all, but the first have more, which came when they were alone, or had their first step.
        assert windows <= 8 * 4 + 16
        told.gate.set()
        for heard in await asyncio.gather(*tasks):
            assert heard.audio.duration == 200.0

    run(story, simulated=INSTANT, max_batch=4, windows_ahead=16)


def test_more_long_recordings_than_may_be_are_refused(run: Callable[..., None], told: type[ToldDetector]) -> None:
    async def story(engine: Engine) -> None:
        told.gate.clear()
        held = [asyncio.create_task(listen(engine, pcm(200.0))) for _ in range(2)]
        await until(lambda: engine._pump is not None and engine._pump.long_is_full)
        with pytest.raises(RequestError) as at_the_door:
            engine.admit(None, 100.0)
        assert (at_the_door.value.status, at_the_door.value.code) == (429, "overloaded")
        assert at_the_door.value.members["retry_after"] >= 1
        with pytest.raises(RequestError, match="too many long recordings"):
            await engine.listen(pcm(100.0), ListenRequest(raw=PCM))
        short = asyncio.create_task(listen(engine, pcm(3.0)))
        told.gate.set()
        await asyncio.gather(short, *held)
        await listen(engine, pcm(100.0))

    run(story, simulated=INSTANT, max_long_recordings=2)


def test_the_door_closes_at_the_bound_and_opens_again(run: Callable[..., None], told: type[ToldDetector]) -> None:
    async def story(engine: Engine) -> None:
        told.gate.clear()
        tasks = [asyncio.create_task(listen(engine, pcm(0.1))) for _ in range(20)]
        await until(lambda: len(engine._backlog) == 20)
        engine._backlog.warmed_up(Measure(9.36, 16), 90.0)  # 180 s may be queued, 187 are
        with pytest.raises(RequestError) as refused:
            engine.admit(3200)
        assert refused.value.code == "overloaded"
        told.gate.set()
        await asyncio.gather(*tasks)
        await listen(engine, pcm(0.1))

    run(story, simulated=INSTANT, max_queue_delay=2.0)


def test_every_window_is_run_once_in_batches_that_fill(run: Callable[..., None], told: type[ToldDetector]) -> None:
    async def story(engine: Engine) -> None:
        told.gate.clear()
        tasks = [asyncio.create_task(listen(engine, pcm(0.5, n))) for n in range(65)]
        await until(lambda: len(engine._backlog) == 65)
        await asyncio.sleep(0.3)
        told.gate.set()
        await asyncio.gather(*tasks)

    run(story, simulated=INSTANT, max_batch=16)
    sizes = [len(batch) for batch in told.batches[1:]]
    assert sum(sizes) == 65
    assert sizes[1:4] == [16, 16, 16]


def test_who_waits_as_long_as_told_gets_in(run: Callable[..., None]) -> None:
    async def story(engine: Engine) -> None:
        admitted_again: list[bool] = []

        async def client() -> None:
            try:
                await listen(engine, pcm(0.1))
            except RequestError as refused:
                await asyncio.sleep(refused.members["retry_after"])
                try:
                    await listen(engine, pcm(0.1))
                except RequestError:
                    admitted_again.append(False)
                else:
                    admitted_again.append(True)

        await asyncio.gather(*(client() for _ in range(150)))
        assert 60 <= len(admitted_again) <= 140
        assert np.mean(admitted_again) >= 0.9

    # 100 windows per second, of which half a second may wait
    run(story, simulated=SimulatedOptions(base_ms=10, row_ms=0), max_batch=1, max_queue_delay=0.5)


# Life and death.


def test_draining_takes_nobody_new_and_loses_nobody(run: Callable[..., None], told: type[ToldDetector]) -> None:
    async def story(engine: Engine) -> None:
        told.gate.clear()
        running = [asyncio.create_task(listen(engine, pcm(seconds))) for seconds in (1.0, 2.0, 130.0)]
        await asyncio.sleep(0.05)
        uploading = engine.admit(32_000)
        draining = asyncio.create_task(engine.drain())
        await asyncio.sleep(0.05)
        assert not engine.ready
        with pytest.raises(RequestError) as refused:
            engine.admit(32_000)
        assert (refused.value.status, refused.value.code) == (503, "draining")
        told.gate.set()
        await asyncio.gather(*running)
        assert not draining.done()
        with uploading as ticket:
            await engine.listen(pcm(1.0), ListenRequest(raw=PCM, ticket=ticket))
        await draining

    run(story, simulated=INSTANT)


def test_closing_refuses_what_is_in_progress(run: Callable[..., None], told: type[ToldDetector]) -> None:
    async def story(engine: Engine) -> None:
        told.gate.clear()
        running = asyncio.create_task(listen(engine, pcm(100.0)))
        await asyncio.sleep(0.05)
        threading.Timer(0.2, told.gate.set).start()
        engine.close()
        with pytest.raises(RequestError, match="stopping"):
            await running

    run(story, simulated=INSTANT)


LOADED = """
import sys
from pathlib import Path
from serving.inference.engine import Engine
from serving.settings import ServingOptions
engine = Engine(ServingOptions(bundle=Path(sys.argv[1]), simulated={}))
engine.start()
engine.loaded.result(30)
print("av" in sys.modules)
engine.close()
"""


def test_no_recording_waits_for_an_import(tiny_bundle: Path, project: Path) -> None:
    command = [sys.executable, "-c", LOADED, str(tiny_bundle)]
    assert subprocess.run(command, capture_output=True, text=True, check=True, cwd=project).stdout == "True\n"


def test_an_engine_that_is_not_loaded_says_so(tiny_bundle: Path, tmp_path: Path) -> None:
    engine = Engine(ServingOptions(bundle=tmp_path / "nowhere"))
    for ask in (engine.admit, engine.model):
        with pytest.raises(RequestError, match="being loaded") as refused:
            ask()
        assert (refused.value.status, refused.value.code) == (503, "not_ready")
    engine.start()
    with pytest.raises(BundleError):
        engine.loaded.result(30)
    with pytest.raises(RequestError, match="could not be loaded"):
        engine.admit()
    engine.close()
    engine.close()


# Several models, and new ones.


def copy_bundle(bundle: Path, folder: Path, version: str) -> Path:
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["model"]["version"] = version
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def test_each_model_answers_to_its_id(run: Callable[..., None], tiny_tagger: Path) -> None:
    async def story(engine: Engine) -> None:
        assert [model.id for model in engine.models()] == ["tiny", "tagger"]
        assert (await listen(engine, pcm(2.0))).model.id == "tiny"
        assert (await listen(engine, pcm(2.0), model="tiny")).model.id == "tiny"
        tagged = await listen(engine, pcm(2.0), model="tagger")
        assert (tagged.model.id, tagged.detections.events) == ("tagger", ())
        with pytest.raises(RequestError) as unknown:
            await listen(engine, pcm(2.0), model="parrot")
        assert (unknown.value.status, unknown.value.code) == (404, "unknown_model")

    run(story, models={"tagger": tiny_tagger})


def test_two_models_of_one_id_are_refused(tiny_bundle: Path) -> None:
    engine = Engine(ServingOptions(bundle=tiny_bundle, models={"tiny": tiny_bundle}, simulated=INSTANT))
    engine.start()
    with pytest.raises(OptionsError, match="'tiny' is already the id of the default bundle"):
        engine.loaded.result(30)
    engine.close()


def test_reloading_under_load_loses_nothing(run: Callable[..., None], tiny_bundle: Path, tmp_path: Path) -> None:
    folder = copy_bundle(tiny_bundle, tmp_path / "bundle", "1")
    versions: list[str] = []

    async def story(engine: Engine) -> None:
        stop = False

        async def client() -> None:
            while not stop:
                versions.append((await listen(engine, pcm(0.5))).model.bundle.version)

        clients = [asyncio.create_task(client()) for _ in range(8)]
        long_one = asyncio.create_task(listen(engine, pcm(500.0)))
        await asyncio.sleep(0.1)
        old = engine.model()
        copy_bundle(tiny_bundle, tmp_path / "new", "2")
        shutil.rmtree(folder)
        (tmp_path / "new").rename(folder)
        new = await engine.reload()
        assert engine.model() is new
        assert (old.bundle.version, new.bundle.version) == ("1", "2")
        count = len(versions)
        await until(lambda: len(versions) > count + 50)
        stop = True
        await asyncio.gather(*clients)
        assert (await long_one).model is old
        await until(lambda: not old.batcher._thread.is_alive())

    run(story, bundle=folder, simulated=SimulatedOptions(base_ms=1, row_ms=0.5))
    assert set(versions) == {"1", "2"}


def test_a_model_that_was_loaded_again_too_late_is_not_begun(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(engine: Engine) -> None:
        begun, load = threading.Event(), engine._models.load

        def load_slowly(slot: str | None) -> models.ServedModel:
            begun.set()
            time.sleep(0.2)
            return load(slot)

        monkeypatch.setattr(engine._models, "load", load_slowly)
        reloading = asyncio.create_task(engine.reload())
        await until(begun.is_set)
        engine.close()
        with pytest.raises(RequestError, match="stopping"):
            await reloading

    run(story, simulated=INSTANT)


def test_a_model_that_cannot_be_loaded_again_goes_on(
    run: Callable[..., None], tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = copy_bundle(tiny_bundle, tmp_path / "bundle", "1")

    async def story(engine: Engine) -> None:
        (folder / "model.onnx").write_bytes(b"damaged")
        with pytest.raises(BundleError, match="sha256"):
            await engine.reload()
        assert (await listen(engine, pcm(1.0))).model.bundle.version == "1"
        with pytest.raises(RequestError, match="no model 'parrot'"):
            await engine.reload("parrot")

    run(story, bundle=folder, simulated=INSTANT)
