"""From a trained model to a bundle: front-end and model as one ONNX graph, compared with torch before it is written.

The graph hears waveforms (batch, samples), of any length and number, and gives the probabilities of `bundle`. What it
is compared with is the model as it was trained and evaluated, its front-end by FFT included, on the recordings given
(or on synthetic ones), on silence and other extremes, and at lengths and batch sizes other than the traced ones: an
exporter that freezes a length or computes a GRU by the other of its two formulas is silently wrong, by a tenth of a
probability.

torch's tracing exporter (opset 17, dynamic axes) is used: the newer one freezes the length of recurrent models (torch
2.11, pytorch #126339). It also restores training mode where it finds it, so what is exported is a copy in eval mode
throughout.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from desed_task.audio.reading import Waveform, resample
from desed_task.batch import Inputs
from desed_task.bundle import Bundle, write_bundle
from desed_task.errors import BundleError
from desed_task.graph_contract import INPUT_NAME, STRONG_NAME, WEAK_NAME
from desed_task.soundscapes.procedural.bank import ProceduralOptions, build_procedural_soundbank
from desed_task.soundscapes.soundbank import SAMPLE_RATE as SOUNDBANK_RATE
from desed_task.soundscapes.soundbank import seeded

PARITY_TOLERANCE = 1e-4
OPSET = 17

# (batch, samples). Traced with one clip and compared with several, the batch axis is seen to be free; 600 samples are
# fewer than any STFT window in use.
_TRACED_SHAPE = (1, 24_000)
_SHAPES = ((1, 160_000), (3, 80_000), (2, 37_777), (1, 600), (5, 16_000))
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


class ProbabilityGraph(nn.Module):
    """What is exported: waveform (batch, samples) -> strong (batch, frames, classes), weak (batch, classes)."""

    def __init__(self, frontend: Callable[[Tensor], Tensor], model: nn.Module) -> None:
        super().__init__()
        self.frontend, self.model = copy.deepcopy(frontend), copy.deepcopy(model)
        self.cpu().eval()

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities, see the class."""
        predictions = self.model(Inputs(self.frontend(waveform)))
        return predictions.strong_probs, predictions.weak_probs


def export_bundle(
    model: nn.Module,
    exportable_frontend: nn.Module,
    reference_frontend: nn.Module,
    bundle: Bundle,
    folder: Path,
    recordings: Sequence[Waveform] = (),
) -> Bundle:
    """Export, compare, write; the bundle that was written, the parity figures in its provenance.

    recordings: (samples,) each, at the bundle's sample rate; without any, synthetic ones are heard. BundleError, with
    nothing written, when any probability is not finite or differs from torch's by more than PARITY_TOLERANCE.
    """
    model_bytes = trace_graph(ProbabilityGraph(exportable_frontend, model))
    check_graph(onnx.load_model_from_string(model_bytes))
    figures = measure_parity(model_bytes, ProbabilityGraph(reference_frontend, model), bundle, recordings)
    worst = max(figures, key=lambda figure: figure.largest_difference)
    if worst.largest_difference > PARITY_TOLERANCE:
        raise BundleError(
            f"the exported graph differs from torch by up to {worst.largest_difference:.2g} ({worst.name}, "
            f"{worst.shape[0]} x {worst.shape[1]} samples), more than {PARITY_TOLERANCE:g}; nothing was written"
        )
    provenance = {**bundle.provenance, "parity": _provenance(figures)}
    return write_bundle(replace(bundle, provenance=provenance), model_bytes, folder)


def trace_graph(graph: nn.Module) -> bytes:
    """The ONNX file of a graph, batch and samples dynamic; BundleError when its code would freeze one of them."""
    example = 0.1 * torch.randn(_TRACED_SHAPE, generator=torch.Generator().manual_seed(0))
    stream = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # torch's GRU compares the width of its input with its options; nothing is frozen by that.
        warnings.filterwarnings("ignore", category=TracerWarning, module=r"torch\.nn\.modules\.rnn")
        # Said of every GRU without explicit states; the comparisons of several clips show that the batch is free.
        warnings.filterwarnings("ignore", message="Exporting a model to ONNX with a batch_size other than 1")
        # The exporter computes one step less in advance; the step is then in the graph.
        warnings.filterwarnings("ignore", message="Constant folding - Only steps=1")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        torch.onnx.export(
            graph,
            (example,),
            stream,  # type: ignore[arg-type]  # (a stream is documented, the annotation says path)
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[STRONG_NAME, WEAK_NAME],
            dynamic_axes={
                INPUT_NAME: {0: "batch", 1: "samples"},
                STRONG_NAME: {0: "batch", 1: "frames"},
                WEAK_NAME: {0: "batch"},
            },
        )
    for warning in caught:
        if issubclass(warning.category, TracerWarning):
            raise BundleError(
                f"the trace of the model would freeze a value, {warning.filename}, line {warning.lineno}: "
                f"{' '.join(str(warning.message).split())}"
            )
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return stream.getvalue()


def check_graph(graph: onnx.ModelProto) -> None:
    """BundleError when the graph is not valid ONNX, or a GRU applies its reset gate before the matrix product."""
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BundleError(f"the exported graph is not valid ONNX ({' '.join(str(error).split())})") from None
    for node in graph.graph.node:
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "GRU" and attributes.get("linear_before_reset", 0) != 1:
            raise BundleError(
                f"node {node.name!r} of the exported graph is a GRU with linear_before_reset=0, which is not torch's "
                "formula (onnxscript #2852); export with the torch version of constraints.txt"
            )


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
        found = session.run([STRONG_NAME, WEAK_NAME], {INPUT_NAME: case.waveforms})
    except Exception as error:  # onnxruntime's errors share no base class of their own
        raise BundleError(f"the exported graph cannot be run on {where} ({' '.join(str(error).split())})") from None
    num_classes = len(bundle.labels)
    promised = [(batch, bundle.grid.num_frames(num_samples), num_classes), (batch, num_classes)]
    for name, outputs in (("torch", expected), ("the exported graph", found)):
        shapes = [values.shape for values in outputs]
        if shapes != promised:
            raise BundleError(f"{name} gives outputs of {shapes} on {where}, labels and grid say {promised}")
        if not all(np.isfinite(values).all() for values in outputs):
            raise BundleError(f"{name} gives probabilities that are not finite on {where}; train the model again")
    differences = [float(np.abs(a - b).max()) for a, b in zip(expected, found, strict=True)]
    return ParityFigure(case.kind, case.name, (batch, num_samples), max(differences))


def _provenance(figures: Sequence[ParityFigure]) -> dict[str, Any]:
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
        "opset": OPSET,
        "cases": cases,
    }
