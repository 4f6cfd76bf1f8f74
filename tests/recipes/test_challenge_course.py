"""A participant's course on a small DESED in its published layout: prepare, train as in 2022, hear the eval set."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from desed_tree import write_desed

from recipes.prepare_data import main as prepare_data
from recipes.train_sed import main as train_sed

CONF = """
base: {project}/confs/sed/compat_2022.yaml
features: {{n_mels: 16, n_window: 512}}
model: {{nb_filters: [4, 8], pooling: [[2, 4], [2, 4]], n_rnn_cell: 8, rnn_layers: 1}}
data:
  store: {folder}/store
  clip_seconds: 1.0
  overlap_frames: 2
  train:
    - {{corpus: {{name: desed, root: {root}, part: synthetic_train}}, supervision: strong, batch_size: 4}}
    - {{corpus: {{name: desed, root: {root}, part: weak_train}}, supervision: weak, batch_size: 4}}
    - {{corpus: {{name: desed, root: {root}, part: unlabeled}}, supervision: none, batch_size: 8}}
  validation:
    - {{corpus: {{name: desed, root: {root}, part: synthetic_validation}}, supervision: strong}}
    - {{corpus: {{name: desed, root: {root}, part: weak_validation}}, supervision: weak}}
  test: {{corpus: {{name: desed, root: {root}, part: validation}}}}
  strong_real: {{name: desed, root: {root}, part: strong_real}}
  eval: {{name: desed, root: {root}, part: eval}}
training: {{n_epochs: 2, n_epochs_warmup: 1, num_threads: 1}}
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Path:
    """A folder with DESED, its store, and one training in exp/version_0."""
    folder = tmp_path_factory.mktemp("course")
    root = folder / "dataset"
    write_desed(root)
    (folder / "conf.yaml").write_text(CONF.format(project=project, folder=folder, root=root))
    prepare_data(
        ["--corpus", "desed", "--basedir", str(root), "--store", str(folder / "store"), "--no_fetch", "--num_jobs", "2"]
    )
    assert train_sed([*arguments(folder), "--strong_real"]) == 0
    return folder


def arguments(folder: Path) -> list[str]:
    return ["--conf_file", str(folder / "conf.yaml"), "--log_dir", str(folder / "exp"), "--device", "cpu"]


def test_training_packs_nothing_after_prepare_data(course: Path) -> None:
    index = {path.name: path.stat().st_mtime_ns for path in (course / "store").glob("*.json")}
    run = course / "exp" / "version_0"
    assert len(index) == 9
    assert max(index.values()) < (run / "conf.yaml").stat().st_mtime_ns
    assert not list((course / "store").glob("*+*"))


def test_a_missing_clip_is_told_beside_every_score(course: Path) -> None:
    for model in ("student", "teacher"):
        report = json.loads((course / "exp" / "version_0" / "metrics_test" / model / "report.json").read_text())
        assert (report["files_present"], report["files_expected"]) == (5, 6)
        assert any("5 of 6 files present: not comparable" in warning for warning in report["warnings"])


def test_the_evaluation_set_is_heard_without_labels(course: Path) -> None:
    argv = ["--eval_from_checkpoint", str(course / "exp" / "version_0"), "--log_dir", str(course / "heard")]
    assert train_sed([*argv, "--device", "cpu"]) == 0
    for model in ("student", "teacher"):
        scores = course / "heard" / "version_0" / "metrics_test" / model / "scores"
        assert sorted(path.name for path in (scores / "raw").iterdir()) == ["0.tsv", "1.tsv"]


def test_the_published_evaluation_ends_every_clip_with_its_window(course: Path) -> None:
    """compat_2022 pads clips of half a second to the second that the model hears, and keeps what it says there.

    The last of 15 whole frames ends at 0.96 s, as that of ten seconds at 9.984 s.
    """
    scores = course / "exp" / "version_0" / "metrics_test" / "student" / "scores" / "raw"
    ends = {path.read_text().splitlines()[-1].split("\t")[1] for path in scores.iterdir()}
    assert {float(end) for end in ends} == {0.96}


def test_the_published_meter_counts_scoring(course: Path) -> None:
    run = course / "exp" / "version_0"
    report = json.loads((run / "metrics_test" / "student" / "report.json").read_text())
    written = float((run / "devtest_codecarbon" / "devtest_tot_kwh.txt").read_text())
    assert written == pytest.approx(report["energy_kwh_inference"] + report["energy_kwh_scoring"], rel=1e-6)


def test_a_published_conf_of_the_same_tree_trains(
    course: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The keys of the 2022 default.yaml, small; its paths are relative to the folder of the run, as published."""
    dataset = course / "dataset"
    conf = tmp_path / "published.yaml"
    conf.write_text(PUBLISHED.format(root=dataset))
    argv = ["--conf_file", str(conf), "--log_dir", str(tmp_path / "exp"), "--device", "cpu", "--fast_dev_run"]
    overrides = [f"data.store={course / 'store'}", "training.num_threads=1", "data.overlap_frames=2"]
    with caplog.at_level(logging.INFO):
        assert train_sed([*argv, *(f"--set={override}" for override in overrides)]) == 0
    assert "net.rnn_layers" in caplog.text
    report = json.loads((tmp_path / "exp" / "version_0" / "metrics_test" / "student" / "report.json").read_text())
    assert report["files_present"] == 5


PUBLISHED = """
training:
  batch_size: [4, 4, 8]
  batch_size_val: 24
  const_max: 2
  n_epochs_warmup: 1
  num_workers: 6
  n_epochs: 3
  early_stop_patience: 200
  accumulate_batches: 1
  gradient_clip: 0.
  median_window: 7
  val_thresholds: [0.5]
  n_test_thresholds: 50
  ema_factor: 0.999
  self_sup_loss: mse
  backend: dp
  validation_interval: 1
  weak_split: 0.9
  seed: 42
  precision: 32
  mixup: soft
  obj_metric_synth_type: intersection
scaler: {{statistic: instance, normtype: minmax, dims: [1, 2], savepath: ./scaler.ckpt}}
data:
  synth_folder: {root}/audio/train/synthetic21_train/soundscapes_16k/
  synth_folder_44k: {root}/audio/train/synthetic21_train/soundscapes/
  synth_tsv: {root}/metadata/train/synthetic21_train/soundscapes.tsv
  strong_folder: {root}/audio/train/strong_label_real_16k/
  strong_folder_44k: {root}/audio/train/strong_label_real/
  strong_tsv: {root}/metadata/train/audioset_strong.tsv
  weak_folder: {root}/audio/train/weak_16k/
  weak_folder_44k: {root}/audio/train/weak/
  weak_tsv: {root}/metadata/train/weak.tsv
  unlabeled_folder: {root}/audio/train/unlabel_in_domain_16k/
  unlabeled_folder_44k: {root}/audio/train/unlabel_in_domain/
  synth_val_folder: {root}/audio/validation/synthetic21_validation/soundscapes_16k/
  synth_val_folder_44k: {root}/audio/validation/synthetic21_validation/soundscapes/
  synth_val_tsv: {root}/metadata/validation/synthetic21_validation/soundscapes.tsv
  synth_val_dur: {root}/metadata/validation/synthetic21_validation/durations.tsv
  test_folder: {root}/audio/validation/validation_16k/
  test_folder_44k: {root}/audio/validation/validation/
  test_tsv: {root}/metadata/validation/validation.tsv
  test_dur: {root}/metadata/validation/validation_durations.tsv
  eval_folder: {root}/audio/eval21_16k
  eval_folder_44k: {root}/audio/eval21
  audio_max_len: 1
  fs: 16000
  net_subsample: 4
opt: {{lr: 0.001}}
feats: {{n_mels: 16, n_filters: 512, hop_length: 256, n_window: 512, sample_rate: 16000, f_min: 0, f_max: 8000}}
net:
  dropout: 0.5
  rnn_layers: 2
  n_in_channel: 1
  nclass: 10
  attention: True
  n_RNN_cell: 8
  activation: glu
  rnn_type: BGRU
  kernel_size: [3, 3]
  padding: [1, 1]
  stride: [1, 1]
  nb_filters: [4, 8]
  pooling: [[2, 4], [2, 4]]
  dropout_recurrent: 0
"""
