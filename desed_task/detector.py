"""Detector: a bundle that listens. Waveform in, scores, events and tags out; the engine of the service without HTTP.

Everything between a waveform and its events happens here: windows, the ONNX graph, stitching, post-processing. The
service and the evaluation of a bundle both call it, so what is measured is what is served. A tagger without frames has
tags and no events.

A waveform is mono float32 (samples,) at the bundle's `sample_rate`, nominally in [-1, 1]; `audio.read_waveform` makes
one from a file. Recordings of any length are heard through windows (see `windowing`) and times are on the recording's
own clock. A detector may be called from several threads at once.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from desed_task.audio.reading import Waveform, read_waveform
from desed_task.bundle import MODEL_FILE, Bundle, read_bundle
from desed_task.clip_pooling import probabilities_of
from desed_task.errors import BundleError, OptionsError
from desed_task.events import Event
from desed_task.graph_contract import INPUT_NAME, STRONG_NAME, WEAK_LOGITS_NAME, WEAK_NAME
from desed_task.hearing import DetectionOptions, Detections, Hearing, WindowScores, require_sound
from desed_task.postprocessing.pipeline import build_postprocessing
from desed_task.scores import Scores

__all__ = ["Detections", "Detector"]

# Sums of float32 probabilities may pass 0 or 1 by rounding; anything farther is a model that gives no probabilities.
_PROBABILITY_ROUNDING = 1e-6


class Detector:
    """A bundle in an onnxruntime session.

    device: `cpu`, `cuda:N` (BundleError where CUDA cannot be used), or `auto` (CUDA where it can be, else the CPU);
    num_threads: of one call on the CPU (all cores when not given); max_batch: windows per call of the graph.
    """

    def __init__(
        self,
        bundle_folder: Path,
        device: str = "auto",
        num_threads: int | None = None,
        max_batch: int = 16,
        buckets: Sequence[int] | None = None,
        cuda_graphs: bool = False,
        allow_cpu: bool = False,
    ) -> None:
        if max_batch < 1:
            raise OptionsError(f"max_batch {max_batch} must be at least 1")
        self.bundle: Bundle = read_bundle(bundle_folder)
        self._model = bundle_folder / MODEL_FILE
        self._session = _open_session(self._model, device, num_threads)
        self.max_batch = max_batch
        self.buckets: tuple[int, ...] = (max_batch,)
        self._postprocessing = build_postprocessing(self.bundle.postprocessing, self.bundle.labels, self.bundle.grid)

    @property
    def provider(self) -> str:
        """The onnxruntime provider that runs the graph, such as CPUExecutionProvider."""
        return str(self._session.get_providers()[0])

    def warm_up(self) -> None:
        """Hear one silent window, so that the first recording is not slower than the next. BundleError if it cannot."""
        self.scores(np.zeros(self.bundle.windowing.window_samples, dtype=np.float32))

    def scores(self, waveform: Waveform) -> Scores:
        """(samples,) -> Scores on the recording's own clock.

        AudioError when the waveform is no sound (NaN, infinite or absurdly large samples); BundleError when the model's
        answer does not fit its bundle.
        """
        require_sound(waveform)
        windows = self.bundle.windowing.cut(waveform)
        batches = [
            self.run(windows[start : start + self.max_batch]) for start in range(0, len(windows), self.max_batch)
        ]
        strong = [batch.strong for batch in batches if batch.strong is not None]
        weak = np.concatenate([batch.weak for batch in batches])
        frames = np.concatenate(strong) if strong else None
        return self.bundle.windowing.stitch(frames, weak, self.bundle.labels, len(waveform))

    def hear(self, blocks: Iterable[Waveform], options: DetectionOptions | None = None) -> Detections:
        """Blocks of one recording -> what is heard in it, in memory that does not grow with its length.

        AudioError when there is no sample, or one that is no sound; OptionsError when the options do not fit.
        """
        hearing = Hearing(self.bundle, options)
        waiting: list[Waveform] = []
        for block in blocks:
            waiting += hearing.feed(block)
            while len(waiting) >= self.max_batch:
                hearing.said(self.run(np.stack(waiting[: self.max_batch])))
                del waiting[: self.max_batch]
        waiting += hearing.end()
        for start in range(0, len(waiting), self.max_batch):
            hearing.said(self.run(np.stack(waiting[start : start + self.max_batch])))
        return hearing.result()

    def decide(self, scores: Scores, threshold: float | None = None) -> Detections:
        """Scores -> events and tags, with the bundle's post-processing; `threshold` replaces that of every class."""
        return Hearing.plan(self.bundle, DetectionOptions(thresholds=threshold)).decide(scores)

    def detect(self, waveform: Waveform) -> list[Event]:
        """(samples,) -> events, sorted by onset."""
        return self._postprocessing.detect(self.scores(waveform))

    def tags(self, waveform: Waveform) -> list[tuple[str, float]]:
        """(samples,) -> (label, score) of every class, highest score first."""
        return self._postprocessing.tags(self.scores(waveform))

    def detect_file(self, path: Path) -> list[Event]:
        """The events of a recording in any format that `audio.read_waveform` decodes; AudioError otherwise."""
        return self.detect(read_waveform(path, self.bundle.sample_rate))

    def run(self, windows: NDArray[np.float32]) -> WindowScores:
        """(windows, window_samples), at most `max_batch` of them -> what the model says; BundleError when it cannot."""
        bundle = self.bundle
        shapes: dict[str, tuple[int, ...]] = {WEAK_NAME: (len(windows), len(bundle.labels))}
        if bundle.has_frames:
            shapes[STRONG_NAME] = (len(windows), bundle.windowing.window_frames, len(bundle.labels))
        if bundle.has_logits:
            shapes[WEAK_LOGITS_NAME] = shapes.pop(WEAK_NAME)
        try:
            outputs = self._session.run(list(shapes), {INPUT_NAME: windows})
        except Exception as error:  # onnxruntime's errors share no base class of their own
            raise BundleError(f"{self._model}: the graph cannot be run ({' '.join(str(error).split())})") from None
        said = dict(zip(shapes, outputs, strict=True))
        for name, values in said.items():
            if values.shape != shapes[name]:
                raise BundleError(f"{self._model}: output {name!r} is {values.shape}, the bundle says {shapes[name]}")
        if bundle.has_logits:
            said[WEAK_NAME] = probabilities_of(said.pop(WEAK_LOGITS_NAME))
        checked = {name: self._probabilities(name, values) for name, values in said.items()}
        return WindowScores(checked.get(STRONG_NAME), checked[WEAK_NAME])

    def _probabilities(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        lowest, highest = float(values.min()), float(values.max())
        if not (lowest >= -_PROBABILITY_ROUNDING and highest <= 1 + _PROBABILITY_ROUNDING):
            raise BundleError(f"{self._model}: output {name!r} reaches {lowest:g} to {highest:g}, not within [0, 1]")
        return np.clip(values, 0.0, 1.0)


def _open_session(model: Path, device: str, num_threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = _providers(device)
    try:
        # enable_fallback=0: a device that fails later is an error, not a silent change to the CPU.
        session = onnxruntime.InferenceSession(str(model), options, providers=providers, enable_fallback=0)
    except Exception as error:
        if device == "auto" and len(providers) > 1:
            return _open_session(model, "cpu", num_threads)
        raise BundleError(f"{model}: onnxruntime cannot load it ({' '.join(str(error).split())})") from None
    if device not in ("auto", "cpu") and session.get_providers()[0] != "CUDAExecutionProvider":
        raise BundleError(
            f"device {device}: onnxruntime fell back to the CPU; it needs the CUDA 13 and cuDNN 9 libraries and a "
            "driver (`pip install onnxruntime-gpu[cuda,cudnn]`), or choose device cpu"
        )
    return session


def _providers(device: str) -> list[Any]:
    """What to ask of onnxruntime for `device`; OptionsError when it is not a device."""
    kind, _, number = device.partition(":")
    if device not in ("auto", "cpu", "cuda") and not (kind == "cuda" and number.isdigit()):
        raise OptionsError(f"device {device!r} is not auto, cpu or cuda:N")
    if device == "cpu" or (device == "auto" and _num_cuda_devices() == 0):
        return ["CPUExecutionProvider"]
    # CUDA libraries that were installed as packages are found only when they are loaded first.
    onnxruntime.preload_dlls()
    cuda = {
        "device_id": int(number or 0),
        # New shapes must not double the memory that is held, and the first call must not search for minutes.
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    return [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]


def _num_cuda_devices() -> int:
    """CUDA devices that the driver shows; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
