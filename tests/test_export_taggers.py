"""Export of taggers: without frames, with frames beside the grid, and of a fixed view; heard as torch hears them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from desed_task.batch import Inputs, Predictions
from desed_task.bundle import MODEL_FILE, Bundle, read_bundle
from desed_task.chunking import Chunking
from desed_task.detector import Detector
from desed_task.embeddings.ears import Ears
from desed_task.errors import BundleError
from desed_task.export import export_bundle
from desed_task.features.frontend import StagedFrontend
from desed_task.labels import LabelSet
from desed_task.parity import PARITY_TOLERANCE
from desed_task.postprocessing.pipeline import PostProcessingOptions
from desed_task.prediction import predict
from desed_task.timeline import FrameGrid
from desed_task.views import View
from desed_task.windowing import Windowing

pytestmark = pytest.mark.usefixtures("one_thread")

BANDS, CLASSES = 8, 3
GRID = FrameGrid(8_000, 80, 4)  # 1 s: 101 mel frames, 25 frames
CHUNKS = Chunking(GRID, window_seconds=1.0, hop_seconds=0.45, tail="shift")
WINDOWS = Windowing(GRID, window_seconds=1.0, overlap_frames=5)


class FilterBank(StagedFrontend):
    """A learned front-end: as many mel frames as a centred STFT has."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv1d(1, BANDS, 160, stride=80, padding=80)

    def spectrum(self, waveform: Tensor) -> Tensor:
        return self.filters(waveform[:, None]).square().transpose(1, 2)

    def compress(self, spectrum: Tensor) -> Tensor:
        return torch.log(spectrum + 1e-3)

    def normalise(self, logarithm: Tensor) -> Tensor:
        return logarithm


class Frames(nn.Module):
    """One frame for 4 mel frames, less those at its edges; `extra` more that stand for padding."""

    def __init__(self, kernel_size: int = 9, extra: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv1d(BANDS, CLASSES, kernel_size, stride=4)
        self.extra = extra

    def forward(self, inputs: Inputs) -> Predictions:
        strong = self.conv(inputs.mel.transpose(1, 2)).transpose(1, 2)
        if self.extra:
            strong = torch.cat(
                [strong, strong.new_full((1, 1, 1), -20.0).expand(strong.shape[0], self.extra, CLASSES)], 1
            )
        return Predictions(strong, strong.amax(dim=1))


class ClipOnly(nn.Module):
    """No frames: the mean of the mel frames, weighed."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(BANDS, CLASSES)

    def forward(self, inputs: Inputs) -> Predictions:
        return Predictions(None, self.dense(inputs.mel.mean(dim=1)))


class Patches(nn.Module):
    """A position embedding for every mel frame of one second, a comparison of Python's own, and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, 101, BANDS))
        self.attention = nn.MultiheadAttention(BANDS, 2, batch_first=True)
        self.dense = nn.Linear(BANDS, CLASSES)

    def forward(self, inputs: Inputs) -> Predictions:
        if inputs.mel.shape[1] != 101:
            raise ValueError("one second, please")
        heard = inputs.mel + self.position
        return Predictions(None, self.dense((heard + self.attention(heard, heard, heard)[0]).mean(dim=1)))


@pytest.fixture
def build() -> Callable[[Callable[[], nn.Module]], tuple[nn.Module, nn.Module]]:
    """(model, front-end), random but far from saying the same of everything."""

    def made(model_class: Callable[[], nn.Module]) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(0)
        return model_class().eval(), FilterBank().eval()

    return made


def bundle_of(view: View, fixed_view: bool) -> Bundle:
    return Bundle("t", "1", LabelSet(["a", "b", "c"]), view, PostProcessingOptions(), fixed_view=fixed_view)


def noises(seconds: float) -> NDArray[np.float32]:
    rng = np.random.default_rng(3)
    loudness = np.repeat(rng.uniform(0, 0.3, 12), 8_000)[: round(8_000 * seconds)]
    return (loudness * rng.normal(size=len(loudness))).astype(np.float32)


@pytest.mark.parametrize(
    ("model_class", "view", "fixed_view"),
    [
        (ClipOnly, WINDOWS, False),
        (ClipOnly, CHUNKS, True),
        (Patches, CHUNKS, True),
        (Frames, WINDOWS, True),
        (Frames, CHUNKS, True),
        (lambda: Frames(extra=7), CHUNKS, True),
        (lambda: Frames(kernel_size=4, extra=7), WINDOWS, False),
        (lambda: Frames(kernel_size=4), CHUNKS, False),
    ],
)
def test_a_tagger_is_heard_as_torch_hears_it(
    build: Callable[..., tuple[nn.Module, nn.Module]],
    tmp_path: Path,
    model_class: Callable[[], nn.Module],
    view: View,
    fixed_view: bool,
) -> None:
    model, frontend = build(model_class)
    bundle = export_bundle(model, Ears(frontend), Ears(frontend), bundle_of(view, fixed_view), tmp_path / "bundle")
    assert bundle.has_frames is isinstance(model, Frames)
    detector = Detector(tmp_path / "bundle", device="cpu", num_threads=1, max_batch=4)
    recordings = [("short", noises(0.3)), ("long", noises(7.8)), ("sample", noises(1 / 8_000))]
    by_torch = predict(model, Ears(frontend), recordings, view, bundle.labels, torch.device("cpu"))
    for audio_id, waveform in recordings:
        served, expected = detector.scores(waveform), by_torch[audio_id]
        np.testing.assert_allclose(served.clip_values, expected.clip_values, rtol=0, atol=PARITY_TOLERANCE)
        if served.frame_values is None or expected.frame_values is None:
            assert served.frame_values is expected.frame_values is None
        else:
            np.testing.assert_allclose(served.frame_values, expected.frame_values, rtol=0, atol=PARITY_TOLERANCE)
    assert np.ptp(by_torch["long"].clip_values) > 0.05  # answers that say something
    frames = by_torch["long"].frame_values
    assert (frames is not None and len(frames) == 195) if bundle.has_frames else frames is None  # 7.8 s / 40 ms


def test_frames_beyond_the_clip_are_dropped_and_missing_ones_prolonged(
    build: Callable[..., tuple[nn.Module, nn.Module]], tmp_path: Path
) -> None:
    model, frontend = build(lambda: Frames(kernel_size=21))  # 101 mel frames: 21 of the grid's 25 frames
    export_bundle(model, Ears(frontend), Ears(frontend), bundle_of(WINDOWS, fixed_view=True), tmp_path / "bundle")
    frames = Detector(tmp_path / "bundle", device="cpu").scores(noises(1.0)).frame_values
    assert frames is not None
    assert len(frames) == 25
    assert np.ptp(frames[20:, 0]) == 0 < np.ptp(frames[19:, 0])


def test_the_graph_of_a_fixed_view_is_compared_at_its_length_alone(
    build: Callable[..., tuple[nn.Module, nn.Module]], tmp_path: Path
) -> None:
    model, frontend = build(Patches)
    export_bundle(model, Ears(frontend), Ears(frontend), bundle_of(CHUNKS, fixed_view=True), tmp_path / "bundle")
    cases = read_bundle(tmp_path / "bundle").provenance["parity"]["cases"]
    shapes = [tuple(shape) for case in cases.values() for shape in case["shapes"]]
    assert {samples for _, samples in shapes} == {8_000}
    assert {batch for batch, _ in shapes} >= {1, 2, 3, 5, 8}
    assert {"silence", "one click", "overdriven sound"} <= cases.keys()
    (waveform,) = onnx.load(tmp_path / "bundle" / MODEL_FILE).graph.input
    assert [axis.dim_param or axis.dim_value for axis in waveform.type.tensor_type.shape.dim] == ["batch", 8_000]


def test_a_model_of_a_fixed_view_is_refused_for_any_length(
    build: Callable[..., tuple[nn.Module, nn.Module]], tmp_path: Path
) -> None:
    model, frontend = build(Patches)
    with pytest.raises((BundleError, ValueError), match=r"would freeze a value|one second, please"):
        export_bundle(model, Ears(frontend), Ears(frontend), bundle_of(CHUNKS, fixed_view=False), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


class FrozenBatch(ClipOnly):
    """Its trace multiplies by the number of clips that it saw."""

    def forward(self, inputs: Inputs) -> Predictions:
        return Predictions(None, self.dense(inputs.mel.mean(dim=1)) * int(inputs.mel.shape[0]))


def test_a_batch_that_the_trace_froze_is_refused(
    build: Callable[..., tuple[nn.Module, nn.Module]], tmp_path: Path
) -> None:
    model, frontend = build(FrozenBatch)
    with pytest.raises(BundleError, match="differs from torch"):
        export_bundle(model, Ears(frontend), Ears(frontend), bundle_of(CHUNKS, fixed_view=True), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_frames_of_other_clocks_are_refused(build: Callable[..., tuple[nn.Module, nn.Module]], tmp_path: Path) -> None:
    model, frontend = build(Frames)
    view = replace(CHUNKS, grid=FrameGrid(8_000, 80, 1))
    with pytest.raises(BundleError, match=r"gives 24 frames of a window of 8000 samples, labels and grid say 101"):
        export_bundle(model, Ears(frontend), Ears(frontend), bundle_of(view, fixed_view=True), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []
