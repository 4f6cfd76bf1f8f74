"""Graph runs: batches padded to buckets say what batches say that are run as they are.

IOBinding works on the CPU too, so the buffers of CUDA are tried here; its recorded graphs with a session that notes
what it is asked.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from desed_task.bundle import MODEL_FILE
from desed_task.detector import Detector
from desed_task.errors import OptionsError
from desed_task.graph_runs import BoundRuns, GraphShape, PlainRuns, bucket_of, checked_buckets, power_of_two_buckets
from desed_task.sessions import Session, open_session

SHAPE = GraphShape("waveform", 16_000, {"strong": (15, 2), "weak": (2,)})


def noises(num_windows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 1, (num_windows, 16_000)) * rng.random((num_windows, 1)) * 0.3).astype(np.float32)


@pytest.fixture(scope="module")
def session(tiny_bundle: Path) -> Session:
    return open_session(tiny_bundle / MODEL_FILE, "cpu", 1)


def test_buckets_are_powers_of_two_and_the_largest_batch() -> None:
    assert [power_of_two_buckets(most) for most in (1, 2, 3, 16, 24)] == [
        (1,),
        (1, 2),
        (1, 2, 3),
        (1, 2, 4, 8, 16),
        (1, 2, 4, 8, 16, 24),
    ]


def test_a_batch_takes_the_smallest_bucket_that_holds_it() -> None:
    assert [bucket_of(count, (1, 4, 6)) for count in range(1, 7)] == [1, 4, 4, 4, 6, 6]
    assert bucket_of(5, ()) == 5


@pytest.mark.parametrize("buckets", [[], [0, 4], [1, 2], [1, 8]])
def test_buckets_that_do_not_end_with_the_largest_batch_are_refused(buckets: list[int]) -> None:
    with pytest.raises(OptionsError, match="the largest of them max_batch 4"):
        checked_buckets(buckets, 4)


def test_padded_batches_say_what_windows_say_alone(session: Session) -> None:
    windows = noises(5)
    plain, bound = PlainRuns(session, SHAPE), BoundRuns(session, SHAPE, (1, 2, 4, 8))
    alone = [plain.run(windows[row : row + 1]) for row in range(5)]
    for count in range(1, 6):
        for said in (bound.run(windows[:count]), bound.run(list(windows[:count])), plain.run(list(windows[:count]))):
            for name, shape in SHAPE.outputs.items():
                assert said[name].shape == (count, *shape)
                expected = np.concatenate([one[name] for one in alone[:count]])
                np.testing.assert_allclose(said[name], expected, rtol=0, atol=1e-5)


def test_what_was_said_is_not_changed_by_the_next_batch(session: Session) -> None:
    bound = BoundRuns(session, SHAPE, (4,))
    first = bound.run(noises(3))
    copy = {name: values.copy() for name, values in first.items()}
    second = bound.run(noises(4, seed=1))
    assert all(np.array_equal(first[name], copy[name]) for name in copy)
    assert not np.array_equal(first["strong"], second["strong"][:3])


def test_threads_do_not_write_into_one_anothers_buffers(session: Session) -> None:
    bound = BoundRuns(session, SHAPE, (1, 4))
    expected = [bound.run(noises(3, seed))["strong"] for seed in range(4)]
    wrong: list[int] = []

    def run(seed: int) -> None:
        for _ in range(20):
            if not np.array_equal(bound.run(noises(3, seed))["strong"], expected[seed]):
                wrong.append(seed)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


class _NotingGraph:
    """A session that notes the key under which each run would be recorded."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self.keys: list[str] = []

    def io_binding(self) -> Any:
        return self._graph.io_binding()

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        self.keys.append(options.get_run_config_entry("gpu_graph_id"))
        self._graph.run_with_iobinding(binding, options)

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    def run(self, names: list[str], feeds: dict[str, Any], options: Any) -> Any:
        self.keys.append(options.get_run_config_entry("gpu_graph_id"))
        return self._graph.run(names, feeds, options)


def test_every_bucket_is_recorded_under_a_key_of_its_own_and_replayed_when_warm(session: Session) -> None:
    graph = _NotingGraph(session.graph)
    recorded = Session(graph, 0, cuda_graphs=True)
    bound = BoundRuns(recorded, SHAPE, (1, 2, 4))
    bound.warm_up()
    assert graph.keys == [*["1"] * 3, *["2"] * 3, *["3"] * 3]
    bound.run(noises(3))
    assert graph.keys[-1] == "3"
    PlainRuns(recorded, SHAPE).run(noises(3))  # of a shape that no recording has
    assert graph.keys[-1] == "-1"


def test_a_detector_with_buckets_hears_what_one_without_hears(tiny_bundle: Path) -> None:
    waveform = noises(20).reshape(-1)
    plain = Detector(tiny_bundle, device="cpu", num_threads=1, max_batch=4)
    padded = Detector(tiny_bundle, device="cpu", num_threads=1, max_batch=4, buckets=[4, 2])
    padded.warm_up()
    assert (plain.buckets, padded.buckets) == ((), (2, 4))
    assert (plain.bucket_of(3), padded.bucket_of(3)) == (3, 4)
    one, other = plain.scores(waveform).frame_values, padded.scores(waveform).frame_values
    assert one is not None and other is not None
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [0, 5])
def test_more_windows_than_a_batch_holds_are_a_mistake_of_the_caller(tiny_bundle: Path, count: int) -> None:
    with pytest.raises(ValueError, match="are not 1 to 4"):
        Detector(tiny_bundle, device="cpu", num_threads=1, max_batch=4).run(np.zeros((count, 160_000), np.float32))
