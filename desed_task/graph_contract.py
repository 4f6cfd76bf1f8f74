"""The contract of a bundle's graph: what goes in and what comes out, asked of an ONNX file before it is believed.

    waveform  in    float32 (batch, samples)           at the bundle's sample rate
    strong    out   float32 (batch, frames, classes)   probabilities in [0, 1]; a tagger without frames has none
    weak      out   float32 (batch, classes)           probabilities in [0, 1]
    weak_logits     float32 (batch, classes)           before the sigmoid, where a view pools them (see `chunking`)

A mean of logits cannot be had from float32 probabilities: there are two of them between 0.9999999 and 1. The batch is
dynamic, and so are samples and frames, except for a model of a fixed view: it is only given windows of one length, so
these two may be fixed, to that length.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from desed_task.errors import BundleError
from desed_task.onnx_runtime import onnxruntime

INPUT_NAME = "waveform"
STRONG_NAME = "strong"
WEAK_NAME = "weak"
WEAK_LOGITS_NAME = "weak_logits"


class FixedAxes(NamedTuple):
    """The lengths of a fixed view: samples of a window, and its frames."""

    samples: int
    frames: int


class _Axis(NamedTuple):
    """One axis: `length` None must be dynamic; another may be that length, or only have a name."""

    length: int | None
    noun: str = ""
    said: str = ""


_DYNAMIC = _Axis(None)


def check_contract(model: Path, num_classes: int, output_names: Collection[str], fixed: FixedAxes | None) -> None:
    """BundleError when names, types or axes of the graph in `model` are not those of the contract.

    output_names: the outputs that it must have; fixed: of a model of a fixed view. Axes that only have a name are
    checked when the graph first runs.
    """
    session = _open(model)
    classes = _Axis(num_classes, "classes", f"lists {num_classes} labels")
    samples = frames = _DYNAMIC
    if fixed is not None:
        samples = _Axis(fixed.samples, "samples", f"says windows of {fixed.samples}")
        frames = _Axis(fixed.frames, "frames", f"says windows of {fixed.frames}")
    _check_node(model, "input", session.get_inputs(), INPUT_NAME, (_DYNAMIC, samples))
    outputs = session.get_outputs()
    if STRONG_NAME not in output_names and STRONG_NAME in {node.name for node in outputs}:
        raise BundleError(f"{model}: gives frame scores, the bundle says that it has none; export the bundle again")
    for name in output_names:
        axes = (_DYNAMIC, frames, classes) if name == STRONG_NAME else (_DYNAMIC, classes)
        _check_node(model, "output", outputs, name, axes)


def _open(model: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # only looked at, not run
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class of their own
        raise BundleError(f"{model}: onnxruntime cannot load it ({' '.join(str(error).split())})") from None


def _check_node(model: Path, kind: str, nodes: list[Any], name: str, axes: tuple[_Axis, ...]) -> None:
    by_name = {node.name: node for node in nodes}
    if name not in by_name:
        raise BundleError(f"{model}: no {kind} {name!r}; the graph has {', '.join(sorted(by_name))}")
    node = by_name[name]
    if node.type != "tensor(float)" or len(node.shape) != len(axes):
        raise BundleError(
            f"{model}: {kind} {name!r} is a {node.type} {node.shape}, the contract is float32 with {len(axes)} axes"
        )
    fixed = [(length, axis) for length, axis in zip(node.shape, axes, strict=True) if isinstance(length, int)]
    for length, axis in fixed:
        if axis.length is not None and axis.length != length:
            raise BundleError(
                f"{model}: {kind} {name!r} has {length} {axis.noun}, bundle.json {axis.said}; export the bundle again"
            )
    if any(axis.length is None for _, axis in fixed):
        raise BundleError(f"{model}: {kind} {name!r} has fixed axes {node.shape}; export it with dynamic ones")
