"""Cross-fitting: every clip is tagged by a tagger that has not heard it, its brothers neither; kills cost nothing."""

from __future__ import annotations

import json
import logging
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from tagging_clips import CONF, write_tagging
from training_process import Brakes, training

from desed_task.errors import CorpusError, OptionsError
from desed_task.formats.clip_scores import ClipScores, read_clip_scores
from desed_task.options import read_options
from desed_task.tagging import TaggingOptions, build_tagger, read_training_sets
from recipes import enhance_labels, evaluate
from recipes.cross_fit import main

PARTS = {"train": 12, "validation": 4, "eval": 4}


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    short = CONF.replace("n_epochs: 3", "n_epochs: 2").replace("batch_size: 4", "batch_size: 2")
    return write_tagging(tmp_path_factory.mktemp("data"), PARTS, short)


def arguments_of(conf: Path, exp: Path, folds: int = 2) -> list[str]:
    return ["--conf_file", str(conf), "--folds", str(folds), "-e", str(exp), "--device", "cpu"]


@pytest.fixture(scope="module")
def fitted(conf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    exp = tmp_path_factory.mktemp("fitted") / "exp"
    assert main(arguments_of(conf, exp)) == 0
    return exp


def heard_in(run: Path) -> set[str]:
    """The clips that a run was trained on."""
    options = read_options(run / "conf.yaml", TaggingOptions)
    sets = read_training_sets(options, build_tagger(options, {}).labels)
    return {clip.audio_id for clip_set in sets for clip in clip_set.clips}


def test_every_clip_is_said_something_about_by_a_tagger_that_has_not_heard_it(fitted: Path) -> None:
    scores = read_clip_scores(fitted / "scores.npz")
    assert scores.audio_ids == tuple(f"train_{clip}" for clip in range(12))  # in the order of the list
    assert scores.folds is not None
    for number in (1, 2):
        heard = heard_in(fitted / f"part_{number}" / "version_0")
        of_part = {audio_id for audio_id, fold in zip(scores.audio_ids, scores.folds, strict=True) if fold == number}
        assert len(of_part) == 6
        assert heard == set(scores.audio_ids) - of_part


def test_recordings_of_one_source_are_in_one_part(fitted: Path) -> None:
    scores = read_clip_scores(fitted / "scores.npz")
    assert scores.folds is not None
    fold = dict(zip(scores.audio_ids, scores.folds.tolist(), strict=True))
    assert all(fold[f"train_{clip}"] == fold[f"train_{clip + 1}"] for clip in range(1, 11, 2))


def test_scores_are_those_of_the_runs(conf: Path, fitted: Path, tmp_path: Path) -> None:
    scores = read_clip_scores(fitted / "scores.npz")
    run = fitted / "part_2" / "version_0"
    flags = ["--manifest", str(conf.parent / "clips.csv"), "--device", "cpu", "--output_dir", str(tmp_path / "out")]
    assert evaluate.main(["--checkpoint", str(run), *flags]) == 0
    found = read_clip_scores(tmp_path / "out" / "scores.npz").by_audio_id()
    own = read_clip_scores(run / "held_out.npz")
    for audio_id, probs in own.by_audio_id().items():
        np.testing.assert_allclose(found[audio_id], probs, atol=5e-5)  # recordings are not packed to 16 bits here
        np.testing.assert_array_equal(scores.select([audio_id]).probs[0], probs)


def test_evaluation_sets_are_not_looked_at(fitted: Path) -> None:
    assert not list(fitted.glob("part_*/version_0/metrics_test/*/eval"))
    assert list(fitted.glob("part_*/version_0/metrics_test/best/validation"))


def assert_same_scores(one: ClipScores, other: ClipScores) -> None:
    assert one.audio_ids == other.audio_ids
    assert np.array_equal(one.probs, other.probs)
    assert one.folds is not None
    assert other.folds is not None
    assert np.array_equal(one.folds, other.folds)


@pytest.mark.slow
def test_a_killed_series_goes_on_and_ends_with_the_same_scores(
    conf: Path, fitted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exp = tmp_path / "exp"
    with training(arguments_of(conf, exp), tmp_path / "log", Brakes(step=0.05), "cross_fit") as running:
        running.wait_for("step", 9)  # of the second part: the first has six
        running.process.kill()
        assert running.end() == -signal.SIGKILL
    assert (exp / "part_1" / "version_0" / "held_out.npz").is_file()
    assert not (exp / "scores.npz").exists()
    before = (exp / "part_1" / "version_0" / "last.ckpt").stat().st_mtime_ns
    caplog.set_level(logging.INFO)
    assert main(arguments_of(conf, exp)) == 0
    assert (exp / "part_1" / "version_0" / "last.ckpt").stat().st_mtime_ns == before
    assert_same_scores(read_clip_scores(exp / "scores.npz"), read_clip_scores(fitted / "scores.npz"))


def test_a_finished_series_trains_nothing_again(conf: Path, fitted: Path) -> None:
    checkpoints = sorted(fitted.glob("part_*/version_*/*.ckpt"))
    before = [path.stat().st_mtime_ns for path in checkpoints]
    expected = read_clip_scores(fitted / "scores.npz")
    (fitted / "scores.npz").unlink()
    (fitted / "part_2" / "version_0" / "held_out.npz").unlink()
    assert main(arguments_of(conf, fitted)) == 0
    assert sorted(fitted.glob("part_*/version_*/*.ckpt")) == checkpoints
    assert [path.stat().st_mtime_ns for path in checkpoints] == before
    assert_same_scores(read_clip_scores(fitted / "scores.npz"), expected)


def test_parts_are_packed_once(conf: Path, fitted: Path, tmp_path: Path) -> None:
    assert fitted.is_dir()
    assert len(list((conf.parent / "store").glob("train*.int16"))) == 1


def test_the_scores_are_what_label_enhancement_takes(fitted: Path, tmp_path: Path, project: Path) -> None:
    scores = read_clip_scores(fitted / "scores.npz")
    (tmp_path / "classes.csv").write_text(
        "index,mid,display_name\n" + "".join(f"{n},/m/{name},{name}\n" for n, name in enumerate(scores.labels))
    )
    ontology = [
        {"id": f"/m/{name}", "name": name, "child_ids": ["/m/hiss"] if name == "hum" else [], "restrictions": []}
        for name in scores.labels
    ]
    (tmp_path / "ontology.json").write_text(json.dumps(ontology))
    rows = [{"wav": f"/x/{audio_id}.wav", "labels": "/m/hum"} for audio_id in scores.audio_ids]
    (tmp_path / "train.json").write_text(json.dumps({"data": rows}))
    flags = ["--label_csv", str(tmp_path / "classes.csv"), "--ontology", str(tmp_path / "ontology.json")]
    data = ["--data_path", str(tmp_path / "train.json"), "--predictions", str(fitted / "scores.npz")]
    assert enhance_labels.main([*data, *flags, "--output_dir", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "train_type1_2_mean.json").is_file()
    shutil.rmtree(tmp_path / "out")


def test_what_cannot_be_divided_is_refused_before_anything_is_trained(conf: Path, tmp_path: Path) -> None:
    exp = tmp_path / "exp"
    with pytest.raises(OptionsError, match="--folds 1: what is not heard takes at least 2"):
        main(arguments_of(conf, exp, folds=1))
    with pytest.raises(CorpusError, match="train: 12 clips of 7 sources cannot be divided into 8 parts; take fewer"):
        main(arguments_of(conf, exp, folds=8))
    with pytest.raises(OptionsError, match="a source is a part already; leave `part` out"):
        main([*arguments_of(conf, exp), "--set", "data.train.0.part={number: 1, of: 3}"])
    assert not exp.exists()
