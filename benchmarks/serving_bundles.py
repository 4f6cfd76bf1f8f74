"""Bundles for load tests: models that need no training and next to no time, so that what is measured is the service.

loudness bundle   two classes, loud and quiet, by the power of each 64 ms frame at 16 kHz, in windows of any length
network bundle    a random network of float32 products and a convolution, whose sums depend on how they are batched
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from desed_task.bundle import Bundle, write_bundle
from desed_task.labels import LabelSet
from desed_task.postprocessing.pipeline import PostProcessingOptions
from desed_task.timeline import FrameGrid
from desed_task.windowing import Windowing

RATE = 16_000
GRID = FrameGrid(RATE, 256, 4)
_LABELS = LabelSet(["loud", "quiet"])


def write_loudness_bundle(folder: Path, window_seconds: float = 10.0, overlap_frames: int = 0) -> Path:
    """waveform (batch, samples) -> strong: sigmoid(40 rms - 4) and its opposite; weak: the largest of the frames."""
    frame_samples = GRID.frame_samples
    nodes = [
        helper.make_node("Mul", ["waveform", "waveform"], ["power"]),
        helper.make_node("Unsqueeze", ["power", "one"], ["channel"]),
        helper.make_node("AveragePool", ["channel"], ["energy"], kernel_shape=[frame_samples], strides=[frame_samples]),
        helper.make_node("Sqrt", ["energy"], ["rms"]),
        helper.make_node("Conv", ["rms", "slopes", "offsets"], ["logits"]),
        *_heads(),
    ]
    constants = {
        "slopes": np.array([40.0, -40.0], dtype=np.float32).reshape(2, 1, 1),
        "offsets": np.array([-4.0, 4.0], dtype=np.float32),
    }
    return _write("loudness", nodes, constants, folder, window_seconds, overlap_frames)


def write_network_bundle(folder: Path, window_seconds: float = 10.0, overlap_frames: int = 10) -> Path:
    """Frames of the waveform through a layer of 256 and a convolution over 9 frames to two classes; random weights."""
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> NDArray[np.float32]:
        values = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        return np.asarray(values, dtype=np.float32)

    frame_samples, width = GRID.frame_samples, 256
    nodes = [
        helper.make_node("Unsqueeze", ["waveform", "one"], ["channel"]),
        helper.make_node(
            "Conv", ["channel", "bases"], ["spectrum"], kernel_shape=[frame_samples], strides=[frame_samples]
        ),
        helper.make_node("Abs", ["spectrum"], ["magnitudes"]),
        helper.make_node("Transpose", ["magnitudes"], ["frames"], perm=[0, 2, 1]),
        # One product for all rows of a batch: how it is cut into blocks depends on how many there are.
        helper.make_node("MatMul", ["frames", "hidden"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["activations"]),
        helper.make_node("Transpose", ["activations"], ["channels"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["channels", "outputs"], ["logits"], kernel_shape=[9], pads=[4, 4]),
        *_heads(),
    ]
    constants = {
        "bases": 30 * weights(width, 1, frame_samples),
        "hidden": weights(width, width),
        "outputs": 8 * weights(2, width, 9),
    }
    return _write("network", nodes, constants, folder, window_seconds, overlap_frames)


def _heads() -> list[NodeProto]:
    """logits (batch, classes, frames) -> strong (batch, frames, classes) and weak (batch, classes)."""
    return [
        helper.make_node("Sigmoid", ["logits"], ["probabilities"]),
        helper.make_node("Transpose", ["probabilities"], ["strong"], perm=[0, 2, 1]),
        helper.make_node("ReduceMax", ["strong", "one"], ["weak"], keepdims=0),
    ]


def _write(
    name: str,
    nodes: list[NodeProto],
    constants: dict[str, NDArray[np.float32]],
    folder: Path,
    window_seconds: float,
    overlap_frames: int,
) -> Path:
    value = helper.make_tensor_value_info
    arrays: dict[str, NDArray[Any]] = {"one": np.array([1], dtype=np.int64), **constants}
    graph = helper.make_graph(
        nodes,
        name,
        [value("waveform", TensorProto.FLOAT, ["batch", "samples"])],
        [
            value("strong", TensorProto.FLOAT, ["batch", "frames", 2]),
            value("weak", TensorProto.FLOAT, ["batch", 2]),
        ],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    bundle = Bundle(
        model_id=name,
        version="1",
        labels=_LABELS,
        windowing=Windowing(GRID, window_seconds=window_seconds, overlap_frames=overlap_frames),
        postprocessing=PostProcessingOptions(median_filter_seconds=0.0, threshold=0.5),
        provenance={"licence": "MIT"},
    )
    write_bundle(bundle, bytes(model.SerializeToString()), folder)
    return folder
