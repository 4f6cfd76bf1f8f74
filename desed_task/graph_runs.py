"""Graph runs: batches of windows through a session, as they are or padded to one of a few sizes.

On the CPU a batch of any size is run as it is (`PlainRuns`). On CUDA every new shape costs memory and a search, so
batches are padded with silence to the next bucket (`BoundRuns`): one set of buffers on the device per bucket, bound
once, and with CUDA graphs one recording of the work per bucket. Both give the rows that went in, in memory of their
own.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import OptionsError
from desed_task.onnx_runtime import onnxruntime
from desed_task.sessions import Session

Windows = NDArray[np.float32] | Sequence[NDArray[np.float32]]
Outputs = dict[str, NDArray[np.float32]]

# onnxruntime's key of a run, and its value for a run that is neither recorded nor replayed.
_GRAPH_KEY, _NO_GRAPH = "gpu_graph_id", -1
# The first run allocates, the second is recorded, the third replays.
_RUNS_TO_WARM_A_GRAPH = 3


@dataclass(frozen=True)
class GraphShape:
    """Of one window: the input's name and its samples; the shape of each output, such as (frames, classes)."""

    input_name: str
    window_samples: int
    outputs: Mapping[str, tuple[int, ...]]


class GraphRuns(Protocol):
    """What runs a graph. onnxruntime's errors are let through."""

    buckets: tuple[int, ...]

    def run(self, windows: Windows) -> Outputs:
        """(windows, window_samples) -> each output (windows, ...); from several threads at once if they like."""

    def warm_up(self) -> None:
        """Run every bucket, so that the first recording is not slower than the next."""


def power_of_two_buckets(max_batch: int) -> tuple[int, ...]:
    """1, 2, 4, 8, ... and `max_batch`."""
    return (*(1 << power for power in range((max_batch - 1).bit_length())), max_batch)


def checked_buckets(buckets: Sequence[int], max_batch: int) -> tuple[int, ...]:
    """Ascending sizes of batches; OptionsError when they do not end with `max_batch`."""
    sizes = tuple(sorted(set(buckets)))
    if not sizes or sizes[0] < 1 or sizes[-1] != max_batch:
        raise OptionsError(f"buckets {list(buckets)} must be 1 or more, the largest of them max_batch {max_batch}")
    return sizes


def bucket_of(num_windows: int, buckets: Sequence[int]) -> int:
    """The size of the batch in which so many windows are run; their own number where there are no buckets."""
    return buckets[bisect.bisect_left(buckets, num_windows)] if buckets else num_windows


class PlainRuns:
    """Batches as they are."""

    buckets: tuple[int, ...] = ()

    def __init__(self, session: Session, shape: GraphShape) -> None:
        self._session, self._shape = session, shape
        self._options = onnxruntime.RunOptions()
        if session.cuda_graphs:
            self._options.add_run_config_entry(_GRAPH_KEY, str(_NO_GRAPH))

    def run(self, windows: Windows) -> Outputs:
        """See `GraphRuns`."""
        batch = windows[0][None] if len(windows) == 1 else np.asarray(windows)
        values = self._session.graph.run(list(self._shape.outputs), {self._shape.input_name: batch}, self._options)
        return dict(zip(self._shape.outputs, values, strict=True))

    def warm_up(self) -> None:
        """See `GraphRuns`."""
        self.run(np.zeros((1, self._shape.window_samples), dtype=np.float32))


class BoundRuns:
    """Batches padded to buckets, in buffers that stay on the device; one batch at a time."""

    def __init__(self, session: Session, shape: GraphShape, buckets: Sequence[int]) -> None:
        self.buckets = tuple(buckets)
        self._session = session
        self._bound = {size: _BoundBatch(session, shape, size, number) for number, size in enumerate(buckets)}
        self._lock = threading.Lock()

    def run(self, windows: Windows) -> Outputs:
        """See `GraphRuns`."""
        with self._lock:
            return self._bound[bucket_of(len(windows), self.buckets)].run(windows)

    def warm_up(self) -> None:
        """See `GraphRuns`."""
        for bound in self._bound.values():
            silence = np.zeros(bound.staging.shape, dtype=np.float32)
            for _ in range(_RUNS_TO_WARM_A_GRAPH if self._session.cuda_graphs else 1):
                with self._lock:
                    bound.run(silence)


class _BoundBatch:
    """The buffers of one bucket."""

    def __init__(self, session: Session, shape: GraphShape, size: int, number: int) -> None:
        self._graph = session.graph
        device = ("cuda" if session.on_cuda else "cpu", session.device_id)
        self.staging = np.zeros((size, shape.window_samples), dtype=np.float32)
        self._input = onnxruntime.OrtValue.ortvalue_from_shape_and_type(self.staging.shape, np.float32, *device)
        self._outputs = {
            name: onnxruntime.OrtValue.ortvalue_from_shape_and_type((size, *of_one), np.float32, *device)
            for name, of_one in shape.outputs.items()
        }
        self._binding = self._graph.io_binding()
        self._binding.bind_ortvalue_input(shape.input_name, self._input)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        self._options = onnxruntime.RunOptions()
        if session.cuda_graphs:
            self._options.add_run_config_entry(_GRAPH_KEY, str(number + 1))

    def run(self, windows: Windows) -> Outputs:
        count = len(windows)
        if isinstance(windows, np.ndarray) and windows.shape == self.staging.shape and windows.flags.c_contiguous:
            self._input.update_inplace(windows)
        else:
            np.stack(list(windows), out=self.staging[:count])
            self.staging[count:] = 0.0
            self._input.update_inplace(self.staging)
        self._graph.run_with_iobinding(self._binding, self._options)
        # The buffer is written again by the next batch.
        return {name: np.array(value.numpy()[:count]) for name, value in self._outputs.items()}
