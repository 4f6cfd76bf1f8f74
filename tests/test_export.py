"""Export: what the bundle hears equals what torch hears, and anything else is refused with nothing written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from desed_task import export
from desed_task.batch import Inputs, Predictions
from desed_task.bundle import MODEL_FILE, Bundle, read_bundle
from desed_task.detector import Detector
from desed_task.embeddings.ears import Ears
from desed_task.errors import BundleError
from desed_task.experiment import load_system
from desed_task.export import ProbabilityGraph, check_graph, export_bundle, trace_graph
from desed_task.features.logmel import LogMel, LogMelOptions
from desed_task.labels import DESED_LABELS, LabelSet
from desed_task.models.crnn import CRNN, CRNNOptions
from desed_task.models.tagger import InputShape
from desed_task.parity import PARITY_TOLERANCE, parity_cases, synthetic_recordings
from desed_task.postprocessing.pipeline import PostProcessingOptions
from desed_task.prediction import predict
from desed_task.system import System, build_ears
from desed_task.timeline import FrameGrid
from desed_task.windowing import Windowing

pytestmark = pytest.mark.usefixtures("one_thread")

Waveform = NDArray[np.float32]


@pytest.fixture(scope="module")
def system(small_checkpoint: Path) -> System:
    return load_system(small_checkpoint)


def bundle_of(system: System) -> Bundle:
    return Bundle("small", "1", system.labels, system.windowing, system.options.postprocessing, {"licence": "MIT"})


def export_small(
    system: System, folder: Path, model: nn.Module | None = None, frontend: nn.Module | None = None
) -> Bundle:
    return export_bundle(
        model or system.models["student"],
        Ears(frontend) if frontend else build_ears(system.options, exportable=True),
        system.ears,
        bundle_of(system),
        folder,
    )


@pytest.fixture(scope="module")
def exported(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "small"
    export_small(system, folder)
    return folder


def hum_then_hiss() -> Waveform:
    """25 s: a hum from 2 to 5 s, a hiss from 12 to 20 s."""
    rng = np.random.default_rng(1)
    time_axis = np.arange(25 * 16_000) / 16_000
    waveform = 0.001 * rng.normal(size=len(time_axis))
    waveform += 0.2 * np.sin(2 * np.pi * 300 * time_axis) * ((time_axis >= 2) & (time_axis < 5))
    waveform += 0.05 * rng.normal(size=len(time_axis)) * ((time_axis >= 12) & (time_axis < 20))
    return waveform.astype(np.float32)


def test_the_figures_stand_in_the_provenance(exported: Path) -> None:
    provenance = read_bundle(exported).provenance
    parity = provenance["parity"]
    assert provenance["licence"] == "MIT"
    assert 0 < parity["largest_difference"] <= PARITY_TOLERANCE == parity["tolerance"]
    assert parity["cases"]["synthetic recordings"]["comparisons"] == 4
    assert {"silence", "600 samples, then silence"} <= parity["cases"].keys()
    shapes = parity["cases"]["other lengths and batch sizes"]["shapes"]
    assert shapes == [[1, 160000], [3, 80000], [2, 37777], [1, 600], [5, 16000]]


def test_the_model_compared_with_answers_differently_to_different_sounds(system: System) -> None:
    """Without that, parity would prove nothing."""
    graph = ProbabilityGraph(system.ears, system.models["student"])
    with torch.inference_mode():
        strong, _ = graph(torch.from_numpy(hum_then_hiss()[None]))
    assert strong.min() < 0.1
    assert strong.max() > 0.9


def test_the_bundle_hears_what_torch_hears(system: System, exported: Path) -> None:
    waveform = hum_then_hiss()
    detector = Detector(exported, device="cpu", num_threads=1)
    served = detector.scores(waveform)
    recordings = [("long", waveform), ("short", waveform[32_000:32_600])]
    windowing, labels = system.windowing, system.labels
    by_torch = predict(system.models["student"], system.ears, recordings, windowing, labels, torch.device("cpu"))
    np.testing.assert_allclose(served.frame_values, by_torch["long"].frame_values, rtol=0, atol=PARITY_TOLERANCE)
    np.testing.assert_allclose(served.clip_values, by_torch["long"].clip_values, rtol=0, atol=PARITY_TOLERANCE)
    short = detector.scores(recordings[1][1])
    np.testing.assert_allclose(short.frame_values, by_torch["short"].frame_values, rtol=0, atol=PARITY_TOLERANCE)
    assert {event.event_label for event in detector.detect(waveform)} == {"hum", "hiss"}


def test_a_clip_is_heard_alike_alone_and_in_a_batch(exported: Path) -> None:
    waveform = hum_then_hiss()
    one_by_one = Detector(exported, device="cpu", num_threads=1, max_batch=1).scores(waveform)
    together = Detector(exported, device="cpu", num_threads=1, max_batch=8).scores(waveform)
    padded = Detector(exported, device="cpu", num_threads=1, max_batch=8, buckets=[2, 8]).scores(waveform)
    np.testing.assert_allclose(one_by_one.frame_values, together.frame_values, rtol=0, atol=1e-6)
    np.testing.assert_allclose(one_by_one.frame_values, padded.frame_values, rtol=0, atol=1e-6)


def test_the_same_call_gives_the_same_bits_with_any_number_of_threads(exported: Path) -> None:
    waveform = hum_then_hiss()
    first, again = (Detector(exported, device="cpu", num_threads=threads).scores(waveform) for threads in (1, 2))
    np.testing.assert_array_equal(first.frame_values, again.frame_values)
    np.testing.assert_array_equal(first.clip_values, again.clip_values)


def test_the_caller_keeps_the_model_as_it_was(system: System) -> None:
    model = system.models["student"]
    before = {name: values.clone() for name, values in model.state_dict().items()}
    model.train()
    try:
        trace_graph(ProbabilityGraph(build_ears(system.options, exportable=True), model))
        assert model.training
    finally:
        model.eval()
    assert all(torch.equal(before[name], values) for name, values in model.state_dict().items())


def test_a_model_in_training_mode_is_exported_in_eval_mode(system: System, tmp_path: Path) -> None:
    """Its batch norm would otherwise use the statistics of what it hears."""
    model = system.models["student"].train()
    try:
        export_small(system, tmp_path / "bundle", model)
    finally:
        model.eval()
    graph = onnx.load(tmp_path / "bundle" / MODEL_FILE).graph
    assert not {"Dropout", "RandomUniform", "Bernoulli"} & {node.op_type for node in graph.node}


@pytest.mark.parametrize("options", [{"f_max": 7000.0}, {"scaler_range": (-1.0, 1.0)}])
def test_another_front_end_than_the_trained_one_is_refused(
    system: System, tmp_path: Path, options: dict[str, object]
) -> None:
    other = LogMel(system.options.features.model_copy(update=options), exportable=True)
    with pytest.raises(BundleError, match=r"differs from torch by up to .* more than 0\.0001; nothing was written"):
        export_small(system, tmp_path / "bundle", frontend=other)
    assert list(tmp_path.iterdir()) == []


def test_a_weight_that_moves_after_tracing_is_refused(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def perturbed(graph: nn.Module, *others: Any) -> bytes:
        with torch.no_grad():
            next(graph.model.parameters()).mul_(1.01)
        return trace_graph(graph, *others)

    monkeypatch.setattr(export, "trace_graph", perturbed)
    with pytest.raises(BundleError, match="differs from torch"):
        export_small(system, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


class Wrapped(nn.Module):
    """A model whose frame logits are altered by `alter`."""

    def __init__(self, model: nn.Module, alter: object) -> None:
        super().__init__()
        self.model, self.alter = model, alter

    def forward(self, inputs: Inputs) -> Predictions:
        predictions = self.model(inputs)
        return replace(predictions, strong_logits=self.alter(inputs.mel, predictions.strong_logits))


def test_answers_that_are_not_finite_are_refused(system: System, tmp_path: Path) -> None:
    """Dividing by the loudest moment, as a home-made normalisation would, fails on silence."""
    model = Wrapped(system.models["student"], lambda mel, logits: logits + 0 / mel.amax(dim=(1, 2))[:, None, None])
    with pytest.raises(BundleError, match="torch gives probabilities that are not finite on silence, 1 x 160000"):
        export_small(system, tmp_path / "bundle", model)
    assert list(tmp_path.iterdir()) == []


def test_a_length_that_the_trace_would_freeze_is_refused(system: System, tmp_path: Path) -> None:
    def frozen(mel: Tensor, logits: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(logits.transpose(1, 2), size=int(logits.shape[1])).transpose(1, 2)

    with pytest.raises(BundleError, match=r"would freeze a value, .*test_export\.py, line \d+"):
        export_small(system, tmp_path / "bundle", Wrapped(system.models["student"], frozen))
    assert list(tmp_path.iterdir()) == []


def test_a_length_that_is_frozen_in_silence_is_refused(system: System, tmp_path: Path) -> None:
    """What the new exporter does: declared dynamic, computed for the length of the example."""
    frames = system.grid.num_frames(24_000)
    model = Wrapped(system.models["student"], lambda mel, logits: logits[:, :frames])
    with pytest.raises(BundleError, match="labels and grid say"):
        export_small(system, tmp_path / "bundle", model)
    assert list(tmp_path.iterdir()) == []


def test_labels_that_are_not_the_models_are_refused(system: System, tmp_path: Path) -> None:
    bundle = replace(
        bundle_of(system), labels=LabelSet(["hum", "hiss", "third"]), postprocessing=PostProcessingOptions()
    )
    ears = build_ears(system.options, exportable=True)
    with pytest.raises(BundleError, match="labels and grid say"):
        export_bundle(system.models["student"], ears, system.ears, bundle, tmp_path / "bundle")


def test_a_gru_with_the_other_formula_is_refused(exported: Path) -> None:
    graph = onnx.load(exported / MODEL_FILE)
    recurrent = [node for node in graph.graph.node if node.op_type == "GRU"]
    assert len(recurrent) == 2
    check_graph(graph)
    attribute = next(attribute for attribute in recurrent[1].attribute if attribute.name == "linear_before_reset")
    attribute.i = 0
    with pytest.raises(BundleError, match="linear_before_reset=0"):
        check_graph(graph)
    recurrent[1].attribute.remove(attribute)  # the default of ONNX is 0
    with pytest.raises(BundleError, match="linear_before_reset=0"):
        check_graph(graph)


def test_a_graph_that_is_not_onnx_is_refused(exported: Path) -> None:
    graph = onnx.load(exported / MODEL_FILE)
    next(node for node in graph.graph.node if node.op_type == "GRU").input[0] = "nothing"
    with pytest.raises(BundleError, match="not valid ONNX"):
        check_graph(graph)


def test_the_graph_tells_nothing_of_the_machine_it_was_made_on(exported: Path, project: Path) -> None:
    assert str(project).encode() not in (exported / MODEL_FILE).read_bytes()


def test_given_recordings_take_the_place_of_synthetic_ones(system: System) -> None:
    cases = list(parity_cases(bundle_of(system), [hum_then_hiss(), hum_then_hiss()[:5000]]))
    recordings = [case for case in cases if case.kind == "recordings"]
    assert [case.waveforms.shape for case in recordings] == [(3, 160_000), (1, 160_000)]
    assert not any("synthetic" in case.kind for case in cases)


def test_a_length_gives_at_least_one_frame() -> None:
    """600 samples are 3 mel frames of the baseline, of which 4 make a frame."""
    baseline = Windowing(FrameGrid(16_000, 256, 4), 10.0, 16)
    bundle = Bundle("baseline", "1", LabelSet(DESED_LABELS), baseline, PostProcessingOptions())
    shapes = [case.waveforms.shape for case in parity_cases(bundle, ())]
    assert (1, 768) in shapes
    assert all(bundle.grid.num_frames(num_samples) >= 1 for _, num_samples in shapes)


def test_synthetic_recordings_are_the_same_every_time_and_at_any_rate() -> None:
    first, again, slow = synthetic_recordings(16_000), synthetic_recordings(16_000), synthetic_recordings(8_000)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert {len(recording) for recording in first} == {160_000}
    assert {len(recording) for recording in slow} == {80_000}
    assert all(0.02 < np.abs(recording).max() < 1.0 for recording in first)


def test_the_published_baseline_is_exported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    features = LogMelOptions()
    model, frontend = CRNN(CRNNOptions(), InputShape(626, features.n_mels), 10), LogMel(features)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_112_420
    sounds = torch.from_numpy(np.stack(synthetic_recordings(16_000)))
    with torch.no_grad():
        for _ in range(3):  # batch-norm statistics of these very sounds
            model.train()(Inputs(frontend(sounds)))
        model.dense.weight *= 10  # an untrained network says nearly the same to everything
    windowing = Windowing(FrameGrid(16_000, 256, 4), 10.0, 16)
    bundle = Bundle("baseline", "1", LabelSet(DESED_LABELS), windowing, PostProcessingOptions())
    written = export_bundle(model, Ears(LogMel(features, exportable=True)), Ears(frontend), bundle, tmp_path / "bundle")
    assert written.provenance["parity"]["largest_difference"] < PARITY_TOLERANCE
    assert 4.4e6 < (tmp_path / "bundle" / MODEL_FILE).stat().st_size < 6e6
    Detector(tmp_path / "bundle", device="cpu").warm_up()
