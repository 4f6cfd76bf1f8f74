"""Trainings whose strongly labelled clips are mixed while they run: whole, killed and resumed, refused."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from same_training import assert_same_training
from small_soundbank import write_soundbank
from training_process import Brakes, training
from training_scenes import write_scenes

from desed_task.errors import DesedTaskError
from desed_task.experiment import SedOptions
from desed_task.options import read_options
from recipes.train_sed import main

STEPS = 6
SOUNDSCAPES = """
seed: 5
soundbank: {name: folders, root: "${here}/bank", procedural_backgrounds: true}
scene:
  labels: [hum, hiss]
  duration_seconds: 2.0
  max_event_seconds: [0.3, 1.0]
  variation: {time_stretch: [0.9, 1.1], tilt_db_per_octave: [-2, 2]}
  room: {probability: 0.5}
parts: {train: {num_scenes: 12}, test: {num_scenes: 4}}
"""
CONF = """
labels: [hum, hiss]
features: {name: logmel, n_window: 512, hop_length: 256, n_mels: 16}
model: {nb_filters: [4, 8], pooling: [[2, 4], [2, 4]], dropout: 0.1, n_rnn_cell: 8, rnn_layers: 1}
data:
  store: ${here}/store
  clip_seconds: 2.0
  overlap_frames: 4
  train:
    - corpus: {name: online, conf: "${here}/scenes.yaml", takes_per_class: 8}
      supervision: strong
      batch_size: 2
    - {corpus: {name: online, conf: "${here}/scenes.yaml", takes_per_class: 8}, supervision: weak, batch_size: 1}
    - {corpus: {name: soundscapes, root: "${here}/scenes", part: unlabeled}, supervision: none, batch_size: 1}
  validation: [{corpus: {name: soundscapes, root: "${here}/scenes", part: weak}, supervision: weak}]
  test: {corpus: {name: soundscapes, root: "${here}/scenes", part: test}}
training: {n_epochs: 2, n_epochs_warmup: 1, num_threads: 1, learning_rate: 0.01, checkpoint_minutes: 0.001}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("online")
    write_soundbank(folder / "bank")
    write_scenes(folder / "scenes", {"weak": 3, "unlabeled": STEPS, "test": 2})
    (folder / "scenes.yaml").write_text(SOUNDSCAPES, encoding="utf-8")
    (folder / "conf.yaml").write_text(CONF, encoding="utf-8")
    return folder


def command(folder: Path, log_dir: Path, *overrides: str) -> list[str]:
    arguments = ["--conf_file", str(folder / "conf.yaml"), "--device", "cpu", "--log_dir", str(log_dir)]
    return [*arguments, *(word for override in overrides for word in ("--set", override))]


def refused(folder: Path, tmp_path: Path, *overrides: str) -> str:
    with pytest.raises(DesedTaskError) as caught:
        main(command(folder, tmp_path / "exp", *overrides))
    assert not (tmp_path / "exp").exists()
    return str(caught.value)


def test_a_fast_run_reaches_the_report(folder: Path, tmp_path: Path) -> None:
    assert main([*command(folder, tmp_path), "--fast_dev_run"]) == 0
    assert (tmp_path / "version_0" / "metrics_test" / "student" / "report.json").is_file()


def test_the_run_folder_says_by_itself_what_was_heard(folder: Path, tmp_path: Path) -> None:
    assert main([*command(folder, tmp_path, "data.train.0.corpus.soundscapes.seed=9"), "--fast_dev_run"]) == 0
    kept = read_options(next((tmp_path / "version_0").glob("*.yaml")), SedOptions).data.train[0].corpus
    assert (kept.conf, kept.read().seed) == (None, 9)
    assert kept.read().soundbank.root == folder / "bank"


def test_killed_and_resumed_a_training_hears_what_it_would_have_heard(folder: Path, tmp_path: Path) -> None:
    assert main(command(folder, tmp_path / "whole")) == 0
    run = tmp_path / "exp" / "version_0"
    with training(command(folder, run.parent), tmp_path / "log", Brakes(step=0.03)) as running:
        running.wait_for("step", STEPS + 2)
        os.kill(running.pid, signal.SIGKILL)
        assert running.end() == -signal.SIGKILL
    begun = max(int(path.name.split(".")[3]) for path in run.glob("events.out.tfevents.*"))
    while time.time() < begun + 1:  # event files are read in the order of their names, which have seconds
        time.sleep(0.05)
    assert main(["--resume_from_checkpoint", str(run), "--log_dir", str(run.parent), "--device", "cpu"]) == 0
    assert_same_training(tmp_path / "whole" / "version_0", run)


REFUSALS = {
    "no such conf": ("data.train.0.corpus.conf=gone.yaml", "gone.yaml: no such conf"),
    "no conf": ("data.train.0.corpus={name: online}", "needs the conf of its soundscapes; add `conf: FILE`"),
    "no such part": ("data.train.0.corpus.part=night", "part 'night' is none of train, test"),
    "a misspelt key": ("data.train.0.corpus.soundscapes.scene.snr=3", "scene.snr: unknown key"),
    "a foreign class": ("labels=[hum]", "its scenes have 'hiss', which is none of the detector's labels"),
    "another rate": ("features.sample_rate=32000", "mixed at 16000 Hz and features.sample_rate is 32000"),
    "another length": ("data.clip_seconds=3.0", "its scenes are 2 s long and data.clip_seconds is 3"),
    "too few scenes": ("data.train.0.corpus.scenes_per_epoch=1", "1 scenes per epoch are fewer than its share of 2"),
    "no soundbank": ("data.train.0.corpus.soundscapes.soundbank.root=gone", "gone: no such folder"),
    "a class without sounds": (
        "data.train.0.corpus.soundscapes.soundbank={name: procedural}",
        "the soundbank of split 'train' has no class 'hum'",
    ),
    "joined with a corpus": ("data.train.0.more=[{name: folder, root: x}]", "`more` cannot stand beside online scenes"),
}


@pytest.mark.parametrize("fault", REFUSALS)
def test_what_does_not_fit_is_refused_before_anything_is_written(folder: Path, tmp_path: Path, fault: str) -> None:
    override, sentence = REFUSALS[fault]
    assert sentence in refused(folder, tmp_path, override)


def test_without_the_package_stretches_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("desed_task.soundscapes.stretch.find_spec", lambda name: None)
    assert "need the package python-stretch" in refused(folder, tmp_path)


def test_online_scenes_can_only_be_trained_on(folder: Path, tmp_path: Path) -> None:
    assert "'online' is none of" in refused(folder, tmp_path, "data.test.corpus={name: online}")
