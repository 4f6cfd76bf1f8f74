"""Parity: a bundle's graph compared with the model in torch, on everything that may set them apart.

What is heard: the recordings given, or synthetic ones (speech, barks, impacts and alarms over room tone), as they are
cut when they are served; silence, a click and other extremes, in which rounding weighs most; and other lengths and
batch sizes than the traced ones, or, for a model of a fixed view, other batch sizes alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from desed_task.audio.reading import Waveform, resample
from desed_task.bundle import Bundle
from desed_task.clip_pooling import probabilities_of
from desed_task.errors import BundleError
from desed_task.graph_contract import INPUT_NAME, STRONG_NAME, WEAK_LOGITS_NAME
from desed_task.onnx_runtime import onnxruntime
from desed_task.soundscapes.procedural.bank import ProceduralOptions, build_procedural_soundbank
from desed_task.soundscapes.soundbank import SAMPLE_RATE as SOUNDBANK_RATE
from desed_task.soundscapes.soundbank import seeded

PARITY_TOLERANCE = 1e-4

# (batch, samples); 600 samples are fewer than any STFT window in use.
_SHAPES = ((1, 160_000), (3, 80_000), (2, 37_777), (1, 600), (5, 16_000))
_FIXED_VIEW_BATCHES = (1, 2, 3, 5)
_WINDOWS_PER_RUN = 8
_SYNTHETIC_EVENTS = {"Speech": 0.3, "Dog": 0.1, "Dishes": 0.03, "Alarm_bell_ringing": 0.5}
_SYNTHETIC_SECONDS = 10.0


@dataclass(frozen=True)
class ParityCase:
    """What graph and torch both hear: its kind, which one of the kind, waveforms (batch, samples)."""

    kind: str
    name: str
    waveforms: NDArray[np.float32]


@dataclass(frozen=True)
class ParityFigure:
    """The largest difference of any probability in one case of shape (batch, samples)."""

    kind: str
    name: str
    shape: tuple[int, int]
    largest_difference: float


def measure_parity(
    model_bytes: bytes, reference: nn.Module, bundle: Bundle, recordings: Sequence[Waveform]
) -> list[ParityFigure]:
    """Compare the graph with torch on every case; BundleError when an answer is not finite or of another shape."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])
    return [_compare(session, reference, bundle, case) for case in parity_cases(bundle, recordings)]


def parity_cases(bundle: Bundle, recordings: Sequence[Waveform]) -> Iterator[ParityCase]:
    """Every comparison: recordings as they are served, extremes, and other lengths and batch sizes."""
    windowing, kind = bundle.windowing, "recordings" if recordings else "synthetic recordings"
    recordings = recordings or synthetic_recordings(bundle.sample_rate)
    for number, recording in enumerate(recordings, start=1):
        windows = windowing.cut(recording)
        for first in range(0, len(windows), _WINDOWS_PER_RUN):
            yield ParityCase(kind, f"{kind}, number {number}", windows[first : first + _WINDOWS_PER_RUN])
    sound = np.concatenate(recordings[:_WINDOWS_PER_RUN])
    for name, waveforms in _extremes(sound, windowing.window_samples).items():
        yield ParityCase(name, name, waveforms)
    if bundle.fixed_view:
        for batch in _FIXED_VIEW_BATCHES:
            waveforms = _pieces(sound, batch, windowing.window_samples)
            yield ParityCase("other batch sizes", "another batch size", waveforms)
        return
    # Fewer samples than this give the model no frame at all.
    shortest = (bundle.grid.time_pooling - 1) * bundle.grid.hop_length
    for batch, num_samples in dict.fromkeys(((1, windowing.window_samples), *_SHAPES)):
        waveforms = _pieces(sound, batch, max(num_samples, shortest))
        yield ParityCase("other lengths and batch sizes", "another length and batch size", waveforms)


def synthetic_recordings(sample_rate: int) -> list[Waveform]:
    """Speech, barks, impacts and alarms over room tone, (samples,) each; always the same."""
    bank = build_procedural_soundbank(ProceduralOptions(name="procedural", num_voices=1), "parity", seed=0)
    rng = seeded("parity")
    num_samples = round(_SYNTHETIC_SECONDS * SOUNDBANK_RATE)
    recordings = []
    for label, peak in _SYNTHETIC_EVENTS.items():
        event = bank.read_event(bank.draw_event(rng, label))[: num_samples // 2]
        scene = 0.02 * bank.backgrounds.read(bank.backgrounds.draw(rng, num_samples), num_samples)
        onset = int(rng.integers(num_samples - len(event)))
        scene[onset : onset + len(event)] += peak * event / float(np.abs(event).max())
        recordings.append(resample(scene.astype(np.float32), SOUNDBANK_RATE, sample_rate))
    return recordings


def _extremes(sound: Waveform, window_samples: int) -> dict[str, NDArray[np.float32]]:
    """Windows (1, window_samples) in which rounding weighs most: the front-end stretches whatever range there is."""
    window = _pieces(sound, 1, window_samples)
    click, short = np.zeros_like(window), np.zeros_like(window)
    click[:, window_samples // 3] = 1.0
    short[:, :600] = window[:, :600]
    return {
        "silence": np.zeros_like(window),
        "one click": click,
        "600 samples, then silence": short,
        "faint sound": np.float32(1e-3) * window,
        "overdriven sound": np.clip(np.float32(100.0) * window, -1.0, 1.0),
    }


def _pieces(sound: Waveform, batch: int, num_samples: int) -> NDArray[np.float32]:
    """(batch, num_samples) of consecutive pieces of `sound`, which begins again where it ends."""
    return np.resize(sound, (batch, num_samples)).astype(np.float32)


def _compare(session: Any, reference: nn.Module, bundle: Bundle, case: ParityCase) -> ParityFigure:
    batch, num_samples = case.waveforms.shape
    where = f"{case.name}, {batch} x {num_samples} samples"
    with torch.inference_mode():
        expected = [values.numpy() for values in reference(torch.from_numpy(case.waveforms))]
    try:
        found = session.run(list(bundle.output_names), {INPUT_NAME: case.waveforms})
    except Exception as error:  # onnxruntime's errors share no base class of their own
        raise BundleError(f"the exported graph cannot be run on {where} ({' '.join(str(error).split())})") from None
    num_classes = len(bundle.labels)
    frames = (batch, bundle.grid.num_frames(num_samples), num_classes)
    promised = [frames if name == STRONG_NAME else (batch, num_classes) for name in bundle.output_names]
    for name, outputs in (("torch", expected), ("the exported graph", found)):
        shapes = [values.shape for values in outputs]
        if shapes != promised:
            raise BundleError(f"{name} gives outputs of {shapes} on {where}, labels and grid say {promised}")
        if not all(np.isfinite(values).all() for values in outputs):
            raise BundleError(f"{name} gives probabilities that are not finite on {where}; train the model again")
    # Of logits a probability is compared too: a difference between 20 and 21 is none.
    pairs = zip(bundle.output_names, expected, found, strict=True)
    differences = [
        float(np.abs(probabilities_of(a) - probabilities_of(b) if name == WEAK_LOGITS_NAME else a - b).max())
        for name, a, b in pairs
    ]
    return ParityFigure(case.kind, case.name, (batch, num_samples), max(differences))


def describe_parity(figures: Sequence[ParityFigure]) -> dict[str, Any]:
    """The figures as a bundle's provenance keeps them."""
    of_kind: dict[str, list[ParityFigure]] = {}
    for figure in figures:
        of_kind.setdefault(figure.kind, []).append(figure)
    cases = {
        kind: {
            "comparisons": len(group),
            "shapes": [list(shape) for shape in dict.fromkeys(figure.shape for figure in group)],
            "largest_difference": max(figure.largest_difference for figure in group),
        }
        for kind, group in of_kind.items()
    }
    return {
        "largest_difference": max(figure.largest_difference for figure in figures),
        "tolerance": PARITY_TOLERANCE,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "cases": cases,
    }
