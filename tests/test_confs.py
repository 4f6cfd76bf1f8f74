"""Every conf of the repository reads, names only known keys, and builds what it describes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from desed_task.batch import Embedding
from desed_task.errors import DesedTaskError
from desed_task.experiment import SedOptions, build_system
from desed_task.labels import DESED_LABELS
from desed_task.options import read_options, write_options
from desed_task.soundscapes.conf import SoundscapesOptions
from desed_task.system import build_grid, build_model, embedders_of

CONFS = Path(__file__).resolve().parent.parent / "confs"
SED = sorted((CONFS / "sed").glob("*.yaml"))
SOUNDSCAPES = sorted((CONFS / "soundscapes").glob("*.yaml"))


def named(paths: list[Path]) -> list[object]:
    return [pytest.param(path, id=path.stem) for path in paths]


def test_there_are_confs() -> None:
    assert {"crnn", "demo", "esc10", "esc10_supervised"} <= {path.stem for path in SED}
    assert {"demo", "esc10"} <= {path.stem for path in SOUNDSCAPES}


def silent_embeddings(options: SedOptions) -> dict[str, Embedding]:
    """Of one clip, in the form that a store would have them in; no weights are needed for that."""
    shapes = {name: embedder.shape(options.features) for name, embedder in embedders_of(options).items()}
    return {name: Embedding(torch.zeros(1, one.frames, one.dim), one.is_timed) for name, one in shapes.items()}


@pytest.mark.parametrize("path", named(SED))
def test_a_detector_conf_builds_its_system(path: Path) -> None:
    options = read_options(path, SedOptions)
    system = build_system(options, {"student": build_model(options)})
    model = system.models["student"].eval()
    waveform = torch.zeros(1, system.windowing.window_samples)
    with torch.inference_mode():
        predictions = model(system.ears(waveform, silent_embeddings(options)))
    assert predictions.strong_probs.shape == (1, system.windowing.window_frames, len(options.labels))
    assert predictions.weak_probs.shape == (1, len(options.labels))


@pytest.mark.parametrize("path", named(SED))
def test_a_detector_conf_survives_its_run_folder(path: Path, tmp_path: Path) -> None:
    options = read_options(path, SedOptions)
    write_options(options, tmp_path / "conf.yaml")
    assert read_options(tmp_path / "conf.yaml", SedOptions) == options


@pytest.mark.parametrize("path", named(SED))
def test_a_misspelt_key_in_a_detector_conf_is_refused(path: Path) -> None:
    with pytest.raises(DesedTaskError, match="did you mean 'n_epochs'"):
        read_options(path, SedOptions, ["training.n_epoch=3"])


@pytest.mark.parametrize("path", named(SOUNDSCAPES))
def test_a_soundscape_conf_reads(path: Path) -> None:
    options = read_options(path, SoundscapesOptions)
    assert "train" in options.parts
    assert {"validation", "val", "test"} & set(options.parts)


@pytest.mark.parametrize("name", ["demo", "esc10"])
def test_a_detector_knows_the_classes_and_parts_of_its_soundscapes(name: str) -> None:
    detector = read_options(CONFS / "sed" / f"{name}.yaml", SedOptions)
    scenes = read_options(CONFS / "soundscapes" / f"{name}.yaml", SoundscapesOptions)
    assert set(detector.labels) == set(scenes.scene.labels)
    sources = [*detector.data.train, *detector.data.validation, detector.data.test]
    assert {source.corpus.part for source in sources} <= set(scenes.parts)


def test_the_baseline_conf_is_the_published_system() -> None:
    options = read_options(CONFS / "sed" / "crnn.yaml", SedOptions)
    model = build_model(options)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_112_420
    assert build_grid(options).num_frames(160_000) == 156
    assert build_grid(options).frame_seconds == 0.064
    assert options.labels == DESED_LABELS
    assert [source.batch_size for source in options.data.train] == [12, 12, 24]
    assert [source.supervision for source in options.data.train] == ["strong", "weak", "none"]
    training = options.training
    assert (training.n_epochs, training.n_epochs_warmup, training.learning_rate) == (200, 50, 0.001)
    assert training.mean_teacher is not None
    assert (training.mean_teacher.ema_decay, training.mean_teacher.consistency_weight) == (0.999, 2.0)
    assert [augmentation.name for augmentation in options.augmentations] == ["mixup"]
    assert options.postprocessing.median_filter_seconds == 0.448  # 7 frames
    assert options.features.scaler_range == (0.0, 1.0)


def test_the_supervised_comparison_differs_in_the_teacher_and_its_budget_only() -> None:
    taught = read_options(CONFS / "sed" / "esc10.yaml", SedOptions)
    alone = read_options(CONFS / "sed" / "esc10_supervised.yaml", SedOptions)
    assert alone.training.mean_teacher is None
    for section in ("labels", "features", "model", "augmentations", "postprocessing"):
        assert getattr(alone, section) == getattr(taught, section)
    assert alone.data.test == taught.data.test
    assert alone.data.validation == taught.data.validation


@pytest.mark.parametrize(
    ("conf", "frames", "dim"), [("crnn_ast", 101, 768), ("crnn_panns", 125, 2048), ("compat_2022_ast", 1214, 768)]
)
def test_a_conf_with_embeddings_is_its_base_with_one_embedder(conf: str, frames: int, dim: int) -> None:
    options = read_options(CONFS / "sed" / f"{conf}.yaml", SedOptions)
    base = read_options(CONFS / "sed" / ("compat_2022.yaml" if "compat" in conf else "crnn.yaml"), SedOptions)
    embedders, fusion = options.embedders, getattr(options.model, "fusion", None)
    plain = options.model_copy(update={"embedders": {}, "model": options.model.model_copy(update={"fusion": None})})
    assert plain == base
    assert list(embedders) == list(fusion.ways)  # type: ignore[union-attr]
    (name, shape), *_ = ((n, one.shape(options.features)) for n, one in embedders_of(options).items())
    assert (shape.frames, shape.dim) == (frames, dim)
    assert embedders[name].mode == "stored"
    assert embedders[name].store.resolve() == CONFS.parent / "embeddings" / name  # type: ignore[union-attr]
    assert shape.is_timed == (conf != "compat_2022_ast")
