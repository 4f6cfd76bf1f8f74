"""The composition root: contradictions are found in the conf, corpora are checked, checkpoints are whole or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_scenes import write_training

from desed_task import experiment
from desed_task.data.store import open_store
from desed_task.errors import CheckpointError, CorpusError, OptionsError
from desed_task.experiment import (
    SedOptions,
    build_clip_set,
    build_system,
    evaluate_clip_set,
    load_system,
    predict_clip_set,
)
from desed_task.options import check_options, read_options
from desed_task.system import build_grid, build_model, describe, load_weights, stored_waveforms


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_training(tmp_path_factory.mktemp("experiment"))


@pytest.fixture(scope="module")
def options(conf: Path) -> SedOptions:
    return read_options(conf, SedOptions)


def checkpoint(options: SedOptions, path: Path, **more: Any) -> Path:
    torch.manual_seed(0)
    weights = build_model(options).state_dict()
    torch.save({"desed_task": describe(options), "sed_student": weights, "sed_teacher": weights, **more}, path)
    return path


def test_the_grid_follows_front_end_and_model(options: SedOptions) -> None:
    grid = build_grid(options)
    assert (grid.sample_rate, grid.hop_length, grid.time_pooling) == (16000, 256, 4)
    assert build_system(options, {}).windowing.window_frames == 31  # 2 s: 126 mel frames


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("features.f_max=8001.0", "features: f_max 8001 Hz is above half the sample rate"),
        ("data.clip_seconds=0.05", r"data.overlap_frames 4 is not less than the 1 frames of data.clip_seconds 0\.05"),
        ("labels=[]", "labels: "),
        ("data.train=[]", "data.train: "),
        ("data.validation.0.supervision=none", "data.validation.0.supervision: .*'strong' or 'weak'"),
        ("data.test.corpus.name=audioset", "data.test.corpus.name: 'audioset' is none of 'soundscapes', 'desed'"),
        ("training.mean_teacher.ema_decay=1.5", "training.mean_teacher.ema_decay: .* less than 1"),
        ("energy.country=France", "energy.country: .*pattern"),
    ],
)
def test_contradictions_are_found_before_anything_starts(conf: Path, override: str, message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        read_options(conf, SedOptions, [override])


def test_unlabeled_clips_may_hold_any_class(options: SedOptions, conf: Path) -> None:
    table = conf.parent / "scenes" / "unlabeled" / "soundscapes.tsv"
    before = table.read_text()
    table.write_text(before + "unlabeled_0.wav\t1.5\t1.7\tBird\n")
    try:
        labels = build_system(options, {}).labels
        assert len(build_clip_set(options.data.train[2], labels).clips) == 4
    finally:
        table.write_text(before)


def test_a_limit_keeps_the_first_clips_with_what_is_known_of_them(options: SedOptions) -> None:
    labels = build_system(options, {}).labels
    few = build_clip_set(options.data.test, labels, limit=2)
    assert [clip.audio_id for clip in few.clips] == ["test_0", "test_1"]
    assert set(few.events) == {"test_0", "test_1"}


def test_overlapping_events_are_refused_where_they_are_scored_and_allowed_where_they_train(
    options: SedOptions, conf: Path
) -> None:
    table = conf.parent / "scenes" / "train" / "soundscapes.tsv"
    before = table.read_text()
    table.write_text(before + "train_0.wav\t0.5\t1.7\thum\ntrain_2.wav\t0.5\t1.7\thiss\n")
    labels = build_system(options, {}).labels
    try:
        assert len(build_clip_set(options.data.train[0], labels).events["train_0"]) == 2
        scored = options.data.test.model_copy(update={"corpus": options.data.train[0].corpus})
        with pytest.raises(CorpusError, match=r"two hum events of train_0 overlap at 0\.500 s"):
            build_clip_set(scored, labels)
    finally:
        table.write_text(before)


def test_a_checkpoint_gives_back_both_models_ready_to_listen(options: SedOptions, tmp_path: Path) -> None:
    system = load_system(checkpoint(options, tmp_path / "a.ckpt"))
    assert list(system.models) == ["student", "teacher"]
    assert not any(model.training for model in system.models.values())
    assert system.options == options
    assert system.labels.names == ("hum", "hiss")


def test_scores_of_files_and_of_the_store_are_the_same_for_16_bit_recordings(
    options: SedOptions, tmp_path: Path
) -> None:
    from desed_task.prediction import predict

    system = load_system(checkpoint(options, tmp_path / "a.ckpt"))
    test_set = build_clip_set(options.data.test, system.labels)
    model = system.models["student"]
    from_files = predict_clip_set(system, model, test_set)
    waveforms = stored_waveforms(open_store(test_set, tmp_path / "store", 16000))
    from_store = predict(model, system.ears, waveforms, system.windowing, system.labels, torch.device("cpu"))
    assert list(from_files) == ["test_0", "test_1", "test_2", "test_3"]
    for audio_id, clip in from_files.items():
        assert (clip.frame_values == from_store[audio_id].frame_values).all()
        assert clip.duration == 2.0
    report = evaluate_clip_set(system, from_files, test_set)
    assert (report.files_present, report.files_expected) == (4, 4)
    assert report.problems == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"desed_task": None}, "does not say how it was trained"),
        ({"desed_task": {"format": 99}}, "does not say how it was trained"),
        ({"sed_teacher": {}}, r"a\.ckpt, teacher: the weights do not fit the model: Missing key"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(
    options: SedOptions, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_system(checkpoint(options, tmp_path / "a.ckpt", **change))


def test_stored_options_of_another_version_are_refused_by_key(options: SedOptions, tmp_path: Path) -> None:
    description = describe(options)
    description["options"]["training"]["momentum"] = 0.9
    with pytest.raises(OptionsError, match=r"a\.ckpt: training\.momentum: unknown key"):
        load_system(checkpoint(options, tmp_path / "a.ckpt", desed_task=description))


def test_weights_of_another_shape_are_named(options: SedOptions) -> None:
    model = build_model(options)
    weights = dict(model.state_dict(), **{"dense.bias": torch.zeros(7)})
    with pytest.raises(CheckpointError, match=r"published, student: .* size mismatch for dense\.bias"):
        load_weights(model, weights, "published, student")


def test_what_a_checkpoint_stores_is_plain_and_complete(options: SedOptions) -> None:
    description = describe(options)
    assert check_options(description["options"], SedOptions) == options
    assert set(description) == {"format", "options", "code", "labels", "grid", "scaler_range", "postprocessing"}


def test_the_published_evaluation_pads_short_recordings_and_cuts_long_ones(small_checkpoint: Path) -> None:
    system = experiment.load_system(small_checkpoint)
    clip = system.options.data.model_copy(update={"evaluation_length": "clip"})
    published = replace(system, options=system.options.model_copy(update={"data": clip}))
    short, long = np.ones(1000, dtype=np.float32), np.arange(400_000, dtype=np.float32)
    as_published = dict(experiment.as_evaluated([("short", short), ("long", long)], published))
    assert {len(waveform) for waveform in as_published.values()} == {160_000}
    assert as_published["short"].sum() == 1000
    assert as_published["long"][0] > 0
    assert np.diff(as_published["long"]).tolist() == [1.0] * 159_999
    assert dict(experiment.as_evaluated([("long", long)], system))["long"] is long
