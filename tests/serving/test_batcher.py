"""The batcher with a device that waits to be told: what goes together, in which order, and what never runs."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue

import numpy as np
import pytest

from desed_task.audio.waveform import Waveform
from desed_task.hearing import WindowScores
from serving.inference.batcher import Batch, Batcher, faulty_rows


class Source:
    def __init__(self, name: str, is_long: bool = False) -> None:
        self.name = name
        self.waiting: deque[Waveform] = deque()
        self.in_turn = False
        self.gone: str | None = None
        self.deadline = float("inf")
        self.is_long = is_long


class Device:
    """Says the first sample of each window; waits for `go` before each batch while `gated`; -1 is a poisoned window."""

    def __init__(self, max_batch: int = 4) -> None:
        self.max_batch = max_batch
        self.gated = False
        self.go = threading.Semaphore(0)
        self.begun: SimpleQueue[list[float]] = SimpleQueue()
        self.num_runs = 0

    def run(self, windows: Sequence[Waveform]) -> WindowScores:
        said = [float(window[0]) for window in windows]
        self.num_runs += 1
        self.begun.put(said)
        if self.gated:
            self.go.acquire()
        if -1.0 in said:
            raise RuntimeError("poisoned")
        return WindowScores(None, np.array(said, dtype=np.float32)[:, None])


class Story:
    """A batcher, its device, and what came out."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.ran: SimpleQueue[Batch[Source]] = SimpleQueue()
        self.expired: SimpleQueue[Source] = SimpleQueue()
        self.taken: list[int] = []
        self.batcher: Batcher[Source] = Batcher(device, self.ran.put, self.expired.put, self.taken.append)

    def put(self, source: Source, *values: float) -> None:
        self.batcher.put(source, [np.full(8, value, dtype=np.float32) for value in values])

    def next_batch(self) -> list[tuple[str, float]]:
        batch = self.ran.get(timeout=10)
        return [
            (source.name, float(score)) for source, score in zip(batch.sources, batch.scores.weak[:, 0], strict=True)
        ]

    def block_device(self) -> None:
        """Let one window run and hold the device there, so that what is put next waits together."""
        self.device.gated = True
        self.put(Source("first"), 0.0)
        assert self.device.begun.get(timeout=10) == [0.0]

    def release(self) -> None:
        self.device.gated = False
        self.device.go.release()
        assert self.next_batch() == [("first", 0.0)]


@pytest.fixture
def make_story() -> Iterator[Callable[..., Story]]:
    stories: list[Story] = []

    def make(max_batch: int = 4) -> Story:
        stories.append(Story(Device(max_batch)))
        return stories[-1]

    yield make
    for story in stories:
        story.device.gated = False
        story.device.go.release()
        story.batcher.close()
        story.batcher.join(10)
        assert "device" not in {thread.name for thread in threading.enumerate() if thread.is_alive()}


def test_an_idle_device_takes_a_window_at_once(make_story: Callable[..., Story]) -> None:
    story = make_story()
    story.put(Source("a"), 1.0)
    assert story.next_batch() == [("a", 1.0)]


def test_an_idle_device_holds_nothing_of_what_it_ran(make_story: Callable[..., Story]) -> None:
    story = make_story()
    source = Source("a")
    story.put(source, 1.0)
    assert story.next_batch() == [("a", 1.0)]
    held = weakref.ref(source)
    del source
    deadline = time.monotonic() + 5
    while held() is not None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert held() is None


def test_what_waits_goes_together_up_to_the_largest_batch(make_story: Callable[..., Story]) -> None:
    story = make_story(max_batch=4)
    story.block_device()
    for number in range(6):
        story.put(Source(str(number)), float(number))
    story.release()
    assert story.next_batch() == [(str(number), float(number)) for number in range(4)]
    assert story.next_batch() == [("4", 4.0), ("5", 5.0)]


def test_recordings_take_turns_window_by_window_and_keep_their_order(make_story: Callable[..., Story]) -> None:
    story = make_story(max_batch=4)
    story.block_device()
    story.put(Source("a"), 1.0, 2.0, 3.0, 4.0, 5.0)
    story.put(Source("b"), 11.0, 12.0)
    story.release()
    assert story.next_batch() == [("a", 1.0), ("b", 11.0), ("a", 2.0), ("b", 12.0)]
    assert story.next_batch() == [("a", 3.0), ("a", 4.0), ("a", 5.0)]


def test_a_recording_of_a_thousand_windows_delays_a_short_one_by_no_more_than_the_batch_that_runs(
    make_story: Callable[..., Story],
) -> None:
    story = make_story(max_batch=8)
    story.block_device()
    story.put(Source("hour", is_long=True), *map(float, range(1, 1001)))
    story.device.gated = True
    story.device.go.release()
    story.next_batch()
    story.device.begun.get(timeout=10)  # eight windows of the hour run
    story.put(Source("short"), 5000.0)
    story.device.gated = False
    story.device.go.release()
    assert {name for name, _ in story.next_batch()} == {"hour"}
    assert ("short", 5000.0) in story.next_batch()


def test_while_short_recordings_come_long_ones_get_a_part_of_the_batch(make_story: Callable[..., Story]) -> None:
    story = make_story(max_batch=16)
    story.block_device()
    for name in ("hour", "other hour"):
        story.put(Source(name, is_long=True), *map(float, range(1, 30)))
    story.put(Source("short"), 0.5)
    story.release()
    assert story.next_batch() == [("hour", 1.0), ("other hour", 1.0), ("short", 0.5)]
    assert story.next_batch() == [("hour", 2.0), ("other hour", 2.0)]


def test_long_recordings_alone_fill_the_batches(make_story: Callable[..., Story]) -> None:
    story = make_story(max_batch=4)
    hour = Source("hour", is_long=True)
    story.device.gated = True
    story.put(hour, 1.0)
    story.device.begun.get(timeout=10)
    story.put(hour, *map(float, range(2, 12)))
    story.device.gated = False
    story.device.go.release()
    assert story.next_batch() == [("hour", 1.0)]
    assert story.next_batch() == [("hour", float(n)) for n in range(2, 6)]


def test_windows_that_nobody_wants_never_run(make_story: Callable[..., Story]) -> None:
    story = make_story()
    story.block_device()
    gone, late, wanted = Source("gone"), Source("late"), Source("wanted")
    story.put(gone, 1.0, 2.0)
    story.put(late, 3.0)
    story.put(wanted, 4.0)
    gone.gone = "cancelled"
    late.deadline = time.monotonic() - 0.001
    story.release()
    assert story.next_batch() == [("wanted", 4.0)]
    assert story.expired.get(timeout=10) is late
    assert story.expired.empty()
    assert not gone.waiting and not gone.in_turn
    assert story.device.num_runs == 2


def test_a_poisoned_window_fails_alone(make_story: Callable[..., Story]) -> None:
    story = make_story(max_batch=4)
    story.block_device()
    for name, value in (("a", 1.0), ("bad", -1.0), ("b", 2.0)):
        story.put(Source(name), value)
    story.release()
    batch = story.ran.get(timeout=10)
    assert [source.name for source in batch.sources] == ["a", "bad", "b"]
    assert {row: str(error) for row, error in batch.errors.items()} == {1: "poisoned"}
    assert batch.scores.weak[[0, 2], 0].tolist() == [1.0, 2.0]
    # the batch of the beginning, this one, and its three windows, once each
    assert story.device.num_runs == 5


def test_a_single_poisoned_window_is_not_run_again(make_story: Callable[..., Story]) -> None:
    story = make_story()
    story.put(Source("bad"), -1.0)
    assert list(story.ran.get(timeout=10).errors) == [0]
    assert story.device.num_runs == 1


def test_rows_that_are_no_numbers_are_found() -> None:
    weak = np.zeros((4, 2), dtype=np.float32)
    strong = np.zeros((4, 3, 2), dtype=np.float32)
    assert faulty_rows(WindowScores(strong, weak)) == []
    weak[1, 0] = np.nan
    strong[3, 2, 1] = np.inf
    assert faulty_rows(WindowScores(strong, weak)) == [1, 3]
    assert faulty_rows(WindowScores(None, weak)) == [1]
