"""From a trained model to a bundle: front-end and model as one ONNX graph, compared with torch before it is written.

The graph hears waveforms (batch, samples), of any length and number, and gives the probabilities of `bundle`, frames
fitted onto its grid. It is compared (see `parity`) with the model as it was trained and evaluated, its front-end by FFT
included: an exporter that freezes a length or computes a GRU by the other of its two formulas is silently wrong, by a
tenth of a probability. The graph of a fixed view (`Bundle.fixed_view`: position embeddings, front-ends that pad) is
traced and compared at the length of its window alone, in batches of several sizes.

torch's tracing exporter (opset 17, dynamic axes) is used: the newer one freezes the length of recurrent models (torch
2.11, pytorch #126339). It also restores training mode where it finds it, so what is exported is a copy in eval mode
throughout.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from desed_task.audio.reading import Waveform
from desed_task.batch import Predictions
from desed_task.bundle import Bundle, write_bundle
from desed_task.embeddings.ears import Ears
from desed_task.errors import BundleError
from desed_task.graph_contract import INPUT_NAME, STRONG_NAME, WEAK_NAME
from desed_task.parity import PARITY_TOLERANCE, describe_parity, measure_parity
from desed_task.timeline import FrameGrid

OPSET = 17

# (batch, samples). Traced with one clip and compared with several, the batch axis is seen to be free.
_TRACED_SHAPE = (1, 24_000)


class ProbabilityGraph(nn.Module):
    """What is exported: waveform (batch, samples) -> strong (batch, frames, classes), weak (batch, classes).

    Frames are those of `grid`, of which the model may give a few more or fewer (without a grid, they are the model's
    own). A model that gives none has no `strong`. `with_logits` gives those of `weak` (batch, classes) as well.
    """

    def __init__(
        self,
        ears: Ears,
        model: nn.Module,
        grid: FrameGrid | None = None,
        with_logits: bool = False,
    ) -> None:
        super().__init__()
        self.ears, self.model = copy.deepcopy(ears), copy.deepcopy(model)
        self.ears.make_spare()  # whoever is served has no stored embeddings
        self.grid, self.with_logits = grid, with_logits
        self.cpu().eval()

    def forward(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """Probabilities, see the class."""
        predictions = self.predictions(waveform)
        if self.grid is not None:
            predictions = predictions.fitted(self.grid.num_frames(waveform.shape[1]))
        frames = () if predictions.strong_logits is None else (predictions.strong_probs,)
        return (*frames, predictions.weak_probs, *((predictions.weak_logits,) if self.with_logits else ()))

    def predictions(self, waveform: Tensor) -> Predictions:
        """What the model says, before its frames are fitted."""
        predictions: Predictions = self.model(self.ears(waveform))
        return predictions


def export_bundle(
    model: nn.Module,
    exportable_ears: Ears,
    reference_ears: Ears,
    bundle: Bundle,
    folder: Path,
    recordings: Sequence[Waveform] = (),
) -> Bundle:
    """Export, compare, write; the bundle that was written, the parity figures in its provenance.

    recordings: (samples,) each, at the bundle's sample rate; without any, synthetic ones are heard. BundleError, with
    nothing written, when any probability is not finite or differs from torch's by more than PARITY_TOLERANCE. Whether
    the bundle has frames is what the model shows.
    """
    reference = ProbabilityGraph(reference_ears, model, bundle.grid, bundle.has_logits)
    bundle = replace(bundle, has_frames=_gives_frames(reference, bundle))
    window_samples = bundle.windowing.window_samples if bundle.fixed_view else None
    graph = ProbabilityGraph(exportable_ears, model, bundle.grid, bundle.has_logits)
    model_bytes = trace_graph(graph, bundle.output_names, window_samples)
    check_graph(onnx.load_model_from_string(model_bytes))
    figures = measure_parity(model_bytes, reference, bundle, recordings)
    worst = max(figures, key=lambda figure: figure.largest_difference)
    if worst.largest_difference > PARITY_TOLERANCE:
        raise BundleError(
            f"the exported graph differs from torch by up to {worst.largest_difference:.2g} ({worst.name}, "
            f"{worst.shape[0]} x {worst.shape[1]} samples), more than {PARITY_TOLERANCE:g}; nothing was written"
        )
    provenance = {**bundle.provenance, "parity": {**describe_parity(figures), "opset": OPSET}}
    return write_bundle(replace(bundle, provenance=provenance), model_bytes, folder)


def trace_graph(
    graph: nn.Module, output_names: Sequence[str] = (STRONG_NAME, WEAK_NAME), window_samples: int | None = None
) -> bytes:
    """The ONNX file of a graph, batch and samples dynamic; BundleError when its code would freeze one of them.

    window_samples: of a fixed view, which the trace may freeze; that the batch is free is seen when it is compared.
    """
    shape = _TRACED_SHAPE if window_samples is None else (1, window_samples)
    example = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    stream = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _ignore_harmless_warnings()
        torch.onnx.export(
            graph,
            (example,),
            stream,  # type: ignore[arg-type]  # (a stream is documented, the annotation says path)
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=list(output_names),
            dynamic_axes=_dynamic_axes(output_names, fixed_view=window_samples is not None),
        )
    for warning in caught:
        if not issubclass(warning.category, TracerWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif window_samples is None:
            raise BundleError(
                f"the trace of the model would freeze a value, {warning.filename}, line {warning.lineno}: "
                f"{' '.join(str(warning.message).split())}"
            )
    return stream.getvalue()


def _ignore_harmless_warnings() -> None:
    # torch's GRU compares the width of its input with its options; nothing is frozen by that.
    warnings.filterwarnings("ignore", category=TracerWarning, module=r"torch\.nn\.modules\.rnn")
    # Said of every GRU without explicit states; the comparisons of several clips show that the batch is free.
    warnings.filterwarnings("ignore", message="Exporting a model to ONNX with a batch_size other than 1")
    # The exporter computes one step less in advance; the step is then in the graph.
    warnings.filterwarnings("ignore", message="Constant folding - Only steps=1")
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def _dynamic_axes(output_names: Sequence[str], fixed_view: bool) -> dict[str, dict[int, str]]:
    axes = {name: {0: "batch"} for name in (INPUT_NAME, *output_names)}
    if not fixed_view:
        axes[INPUT_NAME][1] = "samples"
        if STRONG_NAME in axes:
            axes[STRONG_NAME][1] = "frames"
    return axes


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


def _gives_frames(reference: ProbabilityGraph, bundle: Bundle) -> bool:
    """Whether the model gives frame scores; BundleError when they cannot be those of the grid.

    Models give a few frames more (of padding) or fewer (of convolutions without any) than their grid has, but one that
    gives less than half of them was cut short, or has other clocks than the bundle says.
    """
    view = bundle.windowing
    with torch.inference_mode():
        strong = reference.predictions(torch.zeros(1, view.window_samples)).strong_logits
    if strong is not None and 2 * strong.shape[1] < view.window_frames:
        raise BundleError(
            f"the model gives {strong.shape[1]} frames of a window of {view.window_samples} samples, labels and grid "
            f"say {view.window_frames}"
        )
    return strong is not None
