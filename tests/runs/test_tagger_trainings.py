"""What a conf of a tagger asks for is what its training does: seeds, early stopping, initial weights, class weights,
a learned pooling; and what cannot be is refused in a sentence before a run folder is made."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from same_training import differences, logged
from tagging_clips import CONF, write_tagging

from desed_task.augment.mixup import Mixup
from desed_task.bundle import read_bundle
from desed_task.chunking import Chunking
from desed_task.clips import ClipSet
from desed_task.data.dataset import BatchDataset
from desed_task.errors import CheckpointError, CorpusError, DesedTaskError, OptionsError
from desed_task.formats.clip_scores import read_clip_scores
from desed_task.listening import load_any
from desed_task.options import read_options
from desed_task.runs import tagging_inputs
from desed_task.runs.seeds import find_earlier_run
from desed_task.runs.tagging import TAGGING
from desed_task.system import build_model
from desed_task.tagging import TaggingOptions, build_tagging_dataset
from desed_task.training.checkpointing import progress_of, read_checkpoint
from desed_task.training.run_folder import code_version
from recipes import evaluate, export_onnx
from recipes.train_tagging import main

# A network without batch norm: nothing of it changes when nothing is learned.
LINEAR = "{name: linear, n_layers: 1, hidden_dim: 8, dropout: 0.1}"


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagging(tmp_path_factory.mktemp("data"), conf=CONF.replace("n_epochs: 3", "n_epochs: 2"))


def train(conf: Path, exp: Path, *keys: str, flags: tuple[str, ...] = ()) -> Path:
    """The run folder."""
    overrides = [word for key in keys for word in ("--set", key)]
    assert main(["--conf_file", str(conf), "--device", "cpu", "-e", str(exp), *flags, *overrides]) == 0
    return exp / "version_0"


def checkpoint_of(run: Path) -> dict[str, Any]:
    return read_checkpoint(run / "last.ckpt")


def refused(conf: Path, exp: Path, error: type[DesedTaskError], message: str, *keys: str) -> None:
    with pytest.raises(error, match=message):
        train(conf, exp, *keys)
    assert not exp.exists()


def test_a_run_holds_its_results_under_the_published_headers(conf: Path, tmp_path: Path) -> None:
    run = train(conf, tmp_path / "exp")
    with (run / "results.csv").open(newline="") as stream:
        header, *rows = list(csv.reader(stream))
    assert header == ["Model", "mAP", "mAUC", "dprime", "ckpt_path"]
    sets = ("validation", "eval")
    assert [row[0] for row in rows] == [f"{what} on {of}" for what in ("best", "averaged", "ensemble") for of in sets]
    for (what, of), row in zip(((w, o) for w in ("best", "averaged", "ensemble") for o in sets), rows, strict=True):
        report = json.loads((run / "metrics_test" / what / of / "report.json").read_text())
        assert [float(cell) for cell in row[1:4]] == [report["map"], report["mauc"], report["dprime"]]
        assert Path(row[4]).is_file()
    lines = {name: (run / f"{name}_result.csv").read_text().split() for name in ("best_single", "wa", "ensemble")}
    assert [float(line) for line in lines["wa"]] == [float(row[column]) for row in rows[2:4] for column in (1, 2)]


def test_seeds_are_summarised_and_a_series_is_continued(
    conf: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    train(conf, tmp_path / "exp", "training.n_epochs=2", flags=("--seeds", "2"))
    summary = json.loads((tmp_path / "exp" / "seeds_42-43.json").read_text())
    runs = [tmp_path / "exp" / name for name in summary["seeds"].values()]
    figures = [json.loads((run / "metrics_test" / "best" / "eval" / "report.json").read_text())["map"] for run in runs]
    of_map = summary["models"]["best on eval"]["map"]
    assert of_map["mean"] == pytest.approx(np.mean(figures))
    with (tmp_path / "exp" / "seeds_42-43.csv").open(newline="") as stream:
        table = {row["Model"]: row for row in csv.DictReader(stream)}
    assert list(table["best on eval, seed 42"]) == ["Model", "mAP", "mAUC", "dprime", "ckpt_path"]
    assert float(table["best on eval, mean of 2"]["mAP"]) == pytest.approx(np.mean(figures))
    weights = [checkpoint_of(run)["model"] for run in runs]
    assert differences(*weights)
    train(conf, tmp_path / "exp", "training.n_epochs=2", flags=("--seeds", "2"))
    assert sorted(path.name for path in (tmp_path / "exp").glob("version_*")) == ["version_0", "version_1"]
    assert caplog.text.count("was tested") == 2


def test_mixups_shares_are_drawn_anew_for_every_batch_and_again_alike_by_another_run(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[float, ...]] = []
    draw = Mixup._draw

    def recorded(self: Mixup, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        partner, weight = draw(self, *arguments)
        drawn.append(tuple(weight.tolist()))
        return partner, weight

    monkeypatch.setattr(Mixup, "_draw", recorded)
    mixup = "augmentations=[{name: mixup, domain: normalised, per: clip, probability: 1.0, alpha: 1.0}]"
    keys = (f"model={LINEAR}", mixup, "training.weight_averaging=null", "training.ensemble=null")
    train(conf, tmp_path / "once", *keys)
    steps = len(drawn)
    assert steps == 8  # two epochs of sixteen clips, four at a time
    assert len(set(drawn)) == steps
    train(conf, tmp_path / "again", *keys)
    assert drawn[steps:] == drawn[:steps]


def test_a_tagger_that_gets_no_better_stops_early(conf: Path, tmp_path: Path) -> None:
    keys = ("n_epochs=9", "early_stop_patience=2", "learning_rate=1e-12", "weight_averaging=null")
    run = train(conf, tmp_path / "exp", f"model={LINEAR}", *(f"training.{key}" for key in keys))
    progress = progress_of(checkpoint_of(run), run)
    assert (progress.stopped_early, progress.epoch) == (True, 3)  # the first, and two no better
    assert progress.best_file is not None
    assert progress.best_file.startswith("epoch=2-")  # of equals the newest


def test_a_training_that_ends_before_the_epochs_that_are_averaged_says_so(
    conf: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ("n_epochs=9", "early_stop_patience=1", "learning_rate=1e-12", "weight_averaging.first_epoch=8")
    run = train(conf, tmp_path / "exp", f"model={LINEAR}", *(f"training.{key}" for key in keys))
    assert sorted(path.name for path in (run / "metrics_test").iterdir()) == ["best", "ensemble"]
    assert "training.weight_averaging: the training ended before epoch 8, so there is none" in caplog.text
    assert "training.ensemble" not in caplog.text


def test_a_trial_measures_batch_norm_on_the_clips_that_it_has_heard(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []

    def built(options: TaggingOptions, clip_sets: list[ClipSet], *others: Any) -> BatchDataset:
        heard.append(sum(len(clip_set.clips) for clip_set in clip_sets))
        return build_tagging_dataset(options, clip_sets, *others)

    monkeypatch.setattr(tagging_inputs, "build_tagging_dataset", built)
    train(conf, tmp_path / "exp", "training.weight_averaging.batch_norm=measured", flags=("--fast_dev_run",))
    assert heard == [8]  # two steps of four clips, of sixteen


def test_a_run_of_a_detector_beside_those_of_taggers_is_none_of_the_series(conf: Path, tmp_path: Path) -> None:
    run = tmp_path / "version_0"
    run.mkdir()
    (run / "conf.yaml").write_text("labels: [dog]\nfusion: none\n")
    (run / "code.json").write_text(json.dumps(code_version()))
    (run / "last.ckpt").touch()
    assert find_earlier_run(TAGGING, read_options(conf, TaggingOptions), tmp_path) is None


# Initial weights.


@pytest.fixture(scope="module")
def published(conf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as PSLA saves them: a bare state dict of a data-parallel network, of five classes where we have three."""
    torch.manual_seed(5)
    efficientnet = "{name: efficientnet, eff_b: 0, width: 0.25, depth: 0.25}"
    options = read_options(conf, TaggingOptions, ["features.n_mels=32", f"model={efficientnet}"])
    five = options.model_copy(update={"labels": ("a", "b", "c", "d", "e")})
    weights = build_model(five).state_dict()
    path = tmp_path_factory.mktemp("published") / "audio_model.pth"
    torch.save({f"module.{name}": values for name, values in weights.items()}, path)
    return path


EFFICIENTNET = ("features.n_mels=32", "model={name: efficientnet, eff_b: 0, width: 0.25, depth: 0.25}")


def test_a_frozen_trunk_stays_as_it_was_loaded_and_the_head_learns(
    conf: Path, published: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    flags = ("--init_from", str(published))
    run = train(conf, tmp_path / "exp", *EFFICIENTNET, "training.freeze_trunk=true", flags=flags)
    assert "audio_model.pth: " in caplog.text
    assert "the head stays as initialised" in caplog.text
    initial = {name.removeprefix("module."): values for name, values in torch.load(published).items()}
    trained = checkpoint_of(run)["model"]
    head = {name for name in trained if name.startswith("attention.")}
    assert head
    for name in trained.keys() - head:
        assert torch.equal(trained[name], initial[name]), name
    assert any(trained[name].shape != initial[name].shape for name in head)
    not_trained = ("training.n_epochs=0", "training.weight_averaging=null")
    untrained = train(conf, tmp_path / "untrained", *EFFICIENTNET, *not_trained, flags=flags)
    first = checkpoint_of(untrained)["model"]
    assert any(not torch.equal(trained[name], first[name]) for name in head if name.endswith("weight"))


@pytest.mark.slow
def test_a_trunk_that_is_not_frozen_learns(conf: Path, published: Path, tmp_path: Path) -> None:
    run = train(conf, tmp_path / "exp", *EFFICIENTNET, flags=("--init_from", str(published)))
    initial = {name.removeprefix("module."): values for name, values in torch.load(published).items()}
    trained = checkpoint_of(run)["model"]
    stem = "effnet._conv_stem.weight"
    assert not torch.equal(trained[stem], initial[stem])
    assert (trained[stem] - initial[stem]).abs().max() < 0.2  # and began there


def test_what_a_training_began_from_may_be_gone_when_it_goes_on(conf: Path, tmp_path: Path) -> None:
    keys = ("features.n_mels=32", f"model={LINEAR}", "training.weight_averaging=null", "training.ensemble=null")
    first = train(conf, tmp_path / "first", *keys, "training.n_epochs=0")
    initial = (first / "last.ckpt").rename(tmp_path / "initial.ckpt")
    run = train(conf, tmp_path / "exp", *keys, "training.n_epochs=1", f"training.init_from={initial}")
    initial.unlink()
    assert main(["--resume_from", str(run), "-e", str(tmp_path / "exp"), "--device", "cpu", "--epochs", "2"]) == 0
    assert progress_of(checkpoint_of(run), run).epoch == 2


def test_missing_initial_weights_are_named_before_anything_is_packed(conf: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    message = r"absent\.pth: no such file of initial weights"
    keys = (f"training.init_from={tmp_path / 'absent.pth'}", f"data.store={store}")
    refused(conf, tmp_path / "exp", CheckpointError, message, *keys)
    assert not store.exists()


def test_weights_of_another_size_are_refused_in_a_sentence(conf: Path, published: Path, tmp_path: Path) -> None:
    other = ("features.n_mels=32", "model={name: efficientnet, eff_b: 0, width: 0.5, depth: 0.25}")
    message = r"audio_model\.pth: the weights do not fit the conf's model; .*of another shape: effnet\._conv_stem"
    refused(conf, tmp_path / "exp", CheckpointError, message, *other, f"training.init_from={published}")
    message = r"audio_model\.pth: holds weights of PSLA.*, the conf's model is "
    refused(conf, tmp_path / "exp", CheckpointError, message, f"training.init_from={published}")


@pytest.mark.slow
def test_a_training_of_ours_is_begun_from_with_its_head(conf: Path, tmp_path: Path) -> None:
    first = train(conf, tmp_path / "first")
    begun = ("training.n_epochs=0", "training.weight_averaging=null", f"training.init_from={first / 'last.ckpt'}")
    second = train(conf, tmp_path / "second", *begun)
    assert differences(checkpoint_of(first)["model"], checkpoint_of(second)["model"]) == []


# Class weights.


def test_class_weights_weigh_the_positive_part_of_the_loss(conf: Path, tmp_path: Path) -> None:
    runs = {}
    for name, weights in (("none", None), ("ones", [1.0, 1.0, 1.0]), ("nine", [9.0, 1.0, 1.0])):
        flags: tuple[str, ...] = ()
        if weights is not None:
            torch.save(torch.tensor(weights), tmp_path / f"{name}.pth")
            flags = ("--cw", str(tmp_path / f"{name}.pth"))
        runs[name] = train(conf, tmp_path / name, flags=flags)
    losses = {name: [value for _, value in logged(run)["train/loss"]] for name, run in runs.items()}
    assert losses["ones"] == pytest.approx(losses["none"], rel=1e-4)
    assert losses["nine"][0] > 1.2 * losses["none"][0]
    scores = {name: read_clip_scores(run / "metrics_test/averaged/eval/scores.npz") for name, run in runs.items()}
    more = (scores["nine"].probs - scores["none"].probs).mean(axis=0)
    assert more[0] > 0  # the class whose misses cost nine times as much is said more often


def test_class_weights_of_other_classes_are_refused(conf: Path, tmp_path: Path) -> None:
    (tmp_path / "cw.txt").write_text("1\n2\n")
    message = r"cw\.txt: 2 class weights for 3 classes; give one per class"
    refused(conf, tmp_path / "exp", OptionsError, message, f"training.class_weights={tmp_path / 'cw.txt'}")
    message = r"class_weights: nowhere.pth is not there; name a .pth tensor"
    refused(conf, tmp_path / "exp", OptionsError, message, "training.class_weights=nowhere.pth")


# A learned pooling.


@pytest.fixture(scope="module")
def learned(conf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a tagger whose exponent was learned."""
    view = "data.view={hop_seconds: 0.1, tail: shift, clip_scores: soft}"
    return train(conf, tmp_path_factory.mktemp("learned") / "exp", view)


def test_a_learned_exponent_is_in_every_checkpoint_that_is_tested(learned: Path) -> None:
    assert (
        checkpoint_of(learned)["desed_task"]["options"]["data"]["view"]["exponent"] is None
    )  # trains on with its conf
    exponents = {
        read_checkpoint(path)["desed_task"]["options"]["data"]["view"]["exponent"]
        for path in (*learned.glob("epoch=*.ckpt"), learned / "averaged.ckpt")
    }
    (exponent,) = exponents
    assert 0.0 <= exponent <= 8.0
    view = load_any(learned).windowing
    assert isinstance(view, Chunking)
    assert (view.clip_scores, view.exponent) == ("soft", exponent)


def test_evaluation_and_bundle_pool_with_the_learned_exponent(conf: Path, learned: Path, tmp_path: Path) -> None:
    expected = read_clip_scores(learned / "metrics_test" / "best" / "eval" / "scores.npz").probs
    assert export_onnx.main(["--checkpoint", str(learned), "--output", str(tmp_path / "bundle")]) == 0
    bundled = read_bundle(tmp_path / "bundle").windowing
    assert isinstance(bundled, Chunking)
    assert bundled == load_any(learned).windowing
    for system in (["--checkpoint", str(learned)], ["--bundle", str(tmp_path / "bundle")]):
        flags = ["--conf_file", str(conf), "--on", "eval", "--device", "cpu", "--output_dir", str(tmp_path / "out")]
        assert evaluate.main([*system, *flags]) == 0
        found = read_clip_scores(tmp_path / "out" / "scores.npz").probs
        np.testing.assert_allclose(found, expected, atol=5e-5)  # recordings are not packed to 16 bits here


@pytest.mark.slow
def test_a_training_with_a_learned_exponent_can_be_lengthened(conf: Path, tmp_path: Path) -> None:
    view = "data.view={hop_seconds: 0.1, tail: shift, clip_scores: soft}"
    for epochs in ("0", "1"):
        exp = tmp_path / epochs
        run = train(
            conf, exp, view, "training.weight_averaging=null", "training.ensemble=null", f"training.n_epochs={epochs}"
        )
        assert main(["--resume_from", str(run), "-e", str(exp), "--device", "cpu", "--epochs", "2"]) == 0
        assert progress_of(checkpoint_of(run), run).epoch == 2


# What is refused.


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("training.schedul={name: plateau}", r"training\.schedul: unknown key .*did you mean 'schedule'\?"),
        ("training.schedule.patienc=3", r"training\.schedule\.patienc: unknown key .*did you mean 'patience'\?"),
        ("data.train.0.waveform_mixup.alfa=1.0", r"waveform_mixup\.alfa: unknown key .*did you mean 'alpha'\?"),
        ("training.freeze_trunk=true", "freeze_trunk keeps the trunk as it begins, which is random without init_from"),
        ("training.weight_averaging.first_epoch=7", "first_epoch 7 exceeds n_epochs 2; lower it"),
        ("training.validation_interval=2", "weight_averaging counts every epoch in after its validation"),
        ("model.name=cnn15", r"model\.name: 'cnn15' is none of "),
        ("data.evaluation.validation={name: folder, root: .}", r"validation is what data\.validation is called"),
        ("data.evaluation={../../eval: {name: folder, root: .}}", r"'\.\./\.\./eval' cannot name a folder of reports"),
    ],
)
def test_a_key_that_says_nothing_is_refused(conf: Path, tmp_path: Path, key: str, message: str) -> None:
    refused(conf, tmp_path / "exp", OptionsError, message, key)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("data.train.0.corpus.table=nowhere.csv", r"nowhere\.csv: no such table; correct the path, or fetch it"),
        ("data.validation.where={part: [test]}", r"clips\.csv: no row has the values of `where`"),
        ("data.evaluation.eval.root=/nowhere", r"clips\.csv: none of its 6 recordings is there \(first /nowhere"),
        ("labels=[hum, hiss]", "tick"),
        ("data.train.0.batch_size=64", "lower its batch_size"),
    ],
)
def test_missing_data_is_one_sentence(conf: Path, tmp_path: Path, key: str, message: str) -> None:
    refused(conf, tmp_path / "exp", CorpusError, message, key)


def test_an_ensemble_is_not_taken_for_one_of_other_clips(
    conf: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(conf.parent, tmp_path / "data")
    run = train(tmp_path / "data" / "conf.yaml", tmp_path / "exp")
    assert (run / "metrics_test" / "ensemble" / "eval").is_dir()
    table = tmp_path / "data" / "clips.csv"
    first = next(line for line in table.read_text().splitlines() if ",eval," in line)
    table.write_text(table.read_text().replace(f"{first}\n", ""))
    (run / "results.csv").unlink()
    assert main(["--resume_from", str(run), "-e", str(tmp_path / "exp"), "--device", "cpu"]) == 0
    assert "eval: not the clips that the epochs were asked about" in caplog.text
    assert {path.name for path in (run / "metrics_test" / "ensemble").iterdir()} == {"validation"}
    assert {path.name for path in (run / "metrics_test" / "best").iterdir()} == {"validation", "eval"}
