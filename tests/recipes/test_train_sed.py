"""The training recipe as a user runs it: what a run writes, what a checkpoint remembers, and what is refused.

Refused means: exit code 2, one line on standard error that names the place and the remedy, and nothing written.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from training_scenes import write_training

from desed_task.command_line import run_recipe
from desed_task.options import read_options
from recipes.generate_soundscapes import main as generate_soundscapes
from recipes.train_sed import main

ENERGY = {"energy_kwh_training", "energy_kwh_inference", "energy_kwh_scoring", "energy_estimated"}


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scenes, a conf, and two equal trainings: exp/version_0 and exp/version_1."""
    folder = tmp_path_factory.mktemp("training")
    conf = write_training(folder)
    for _ in range(2):
        assert main(["--conf_file", str(conf), "--log_dir", str(folder / "exp"), "--device", "cpu"]) == 0
    return folder


def checkpoint_of(run: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(best_of(run), weights_only=True)
    return checkpoint


def best_of(run: Path) -> Path:
    (best,) = run.glob("epoch=*-step=*.ckpt")
    return best


def report_of(run: Path, model: str = "student") -> dict[str, Any]:
    report: dict[str, Any] = json.loads((run / "metrics_test" / model / "report.json").read_text())
    return report


def figures_of(run: Path, model: str) -> dict[str, Any]:
    return {name: value for name, value in report_of(run, model).items() if name not in ENERGY}


def test_a_run_folder_holds_everything_about_the_run(training: Path) -> None:
    run = training / "exp" / "version_0"
    assert (run / "last.ckpt").is_file()
    assert len(list(run.glob("events.out.tfevents.*"))) == 1
    assert {"commit", "torch"} <= json.loads((run / "code.json").read_text()).keys()
    for stretch in ("training", "devtest", "scoring"):
        folder = run / f"{stretch}_codecarbon"
        assert (folder / "emissions.csv").is_file()
        assert float((folder / f"{stretch}_tot_kwh.txt").read_text()) > 0
    for model in ("student", "teacher"):
        report = report_of(run, model)
        assert (report["files_present"], report["files_expected"]) == (4, 4)
        assert set(report["per_class"]) == {"hum", "hiss"}
        assert 0 <= report["psds1"] <= 1
        assert report["energy_kwh_training"] > 0
        assert (run / "metrics_test" / model / "event_f1.txt").is_file()
    assert not list(training.rglob("*.partial"))


def test_a_second_run_has_its_own_folder_and_the_same_seed_the_same_weights(training: Path) -> None:
    runs, published = ["version_0", "version_1"], ["devtest_codecarbon", "training_codecarbon"]
    assert sorted(path.name for path in (training / "exp").iterdir()) == published + runs
    for kwh in ("training_codecarbon/training_tot_kwh.txt", "devtest_codecarbon/devtest_tot_kwh.txt"):
        assert (training / "exp" / kwh).read_text() == (training / "exp" / "version_1" / kwh).read_text()
    first, second = (checkpoint_of(training / "exp" / name) for name in ("version_0", "version_1"))
    for model in ("sed_student", "sed_teacher"):
        assert first[model].keys() == second[model].keys()
        assert all(torch.equal(values, second[model][name]) for name, values in first[model].items())
        assert not torch.equal(first["sed_student"]["dense.weight"], first["sed_teacher"]["dense.weight"])


def test_a_checkpoint_says_how_it_was_trained(training: Path) -> None:
    stored = checkpoint_of(training / "exp" / "version_0")["desed_task"]
    assert stored["labels"] == ["hum", "hiss"]
    assert stored["grid"] == {"sample_rate": 16000, "hop_length": 256, "time_pooling": 4}
    assert stored["scaler_range"] == [0.0, 1.0]
    assert stored["postprocessing"] == {"median_filter_seconds": 0.448, "threshold": 0.5}
    assert stored["options"]["training"]["n_epochs"] == 2
    assert "commit" in stored["code"]


def test_testing_a_checkpoint_repeats_the_report_of_its_training(training: Path, tmp_path: Path) -> None:
    run = training / "exp" / "version_0"
    argv = ["--test_from_checkpoint", str(best_of(run)), "--log_dir", str(tmp_path / "exp"), "--device", "cpu"]
    assert main(argv) == 0
    tested = tmp_path / "exp" / "version_0"
    for model in ("student", "teacher"):
        assert figures_of(tested, model) == figures_of(run, model)
    assert report_of(tested)["energy_kwh_training"] is None
    assert report_of(tested)["energy_kwh_inference"] > 0
    assert (tested / "conf.yaml").read_text() == (run / "conf.yaml").read_text()
    assert not (tested / "training_codecarbon").exists()


def test_a_conf_beside_a_checkpoint_names_other_test_data_and_nothing_else(training: Path, tmp_path: Path) -> None:
    run = training / "exp" / "version_0"
    conf = tmp_path / "other.yaml"
    text = (training / "conf.yaml").read_text().replace("${here}", str(training)).replace("part: test", "part: train")
    conf.write_text(text + "postprocessing: {threshold: 0.9}\nenergy: {country: DEU}\n")
    argv = ["--test_from_checkpoint", str(best_of(run)), "--conf_file", str(conf), "--log_dir", str(tmp_path / "exp")]
    assert main([*argv, "--device", "cpu"]) == 0
    report = report_of(tmp_path / "exp" / "version_0")
    assert report["files_present"] == 8
    assert report["scorer"]["threshold"] == {"hum": 0.5, "hiss": 0.5}


def test_supervised_training_and_no_training_at_all(training: Path, tmp_path: Path) -> None:
    common = ["--conf_file", str(training / "conf.yaml"), "--log_dir", str(tmp_path / "exp"), "--device", "cpu"]
    assert main([*common, "--fast_dev_run", "--set", "training.mean_teacher=null"]) == 0
    assert main([*common, "--set", "training.n_epochs=0"]) == 0
    supervised, untrained = tmp_path / "exp" / "version_0", tmp_path / "exp" / "version_1"
    assert [path.name for path in (supervised / "metrics_test").iterdir()] == ["student"]
    assert list(untrained.glob("*.ckpt")) == [untrained / "last.ckpt"]
    student, teacher = (report_of(untrained, model)["psds1"] for model in ("student", "teacher"))
    assert student == teacher


def test_the_demonstration_conf_trains_from_any_folder(project: Path, tmp_path: Path) -> None:
    """A process of its own, with the flags spelt either way, on scenes of the procedural soundbank."""
    counts = {"train": 6, "weak": 3, "unlabeled": 3, "validation": 2, "test": 3}
    generate_soundscapes(
        ["--output_dir", str(tmp_path / "demo" / "soundscapes"), "--num_jobs", "1"]
        + [f"--set=parts.{part}.num_scenes={count}" for part, count in counts.items()]
        + ["--set=scene.duration_seconds=4.0"]
    )
    command = [sys.executable, str(project / "recipes" / "train_sed.py"), "--conf-file"]
    command += [str(project / "confs" / "sed" / "demo.yaml"), "--log-dir", "runs", "--fast-dev-run", "--device=cpu"]
    command += ["--set=data.clip_seconds=4.0", "--set=training.num_threads=2"]
    command += [f"--set=data.train.{source}.batch_size=3" for source in range(3)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "| student |" in done.stdout
    assert "| teacher |" in done.stdout
    assert "run folder: runs/version_0" in done.stderr
    assert report_of(tmp_path / "runs" / "version_0")["files_present"] == 3
    assert {path.name for path in tmp_path.iterdir()} == {"demo", "runs"}


Refusal = Callable[..., str]


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Refusal:
    """Run the recipe on arguments that it must refuse; its one line on standard error."""

    def run(*argv: str) -> str:
        monkeypatch.setattr(sys, "argv", ["train_sed.py", "--device", "cpu", *argv])
        with caplog.at_level(logging.INFO), pytest.raises(SystemExit) as ended:
            run_recipe(main)
        captured = capsys.readouterr()
        assert ended.value.code == 2, captured.err
        assert captured.out == ""
        assert caplog.records == []
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        assert captured.err.endswith("\n")
        return captured.err

    return run


def test_the_default_conf_without_its_data_names_prepare_data_and_the_demo(
    refused: Refusal, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (project / "data" / "dcase" / "dataset").exists():
        pytest.skip("DESED is there")
    monkeypatch.chdir(tmp_path)
    message = refused()
    assert "recipes/prepare_data.py" in message
    assert "confs/sed/demo.yaml" in message
    assert ".." not in message
    assert list(tmp_path.iterdir()) == []


def override(text: str) -> Callable[[Path], list[str]]:
    return lambda folder: ["--set", text]


def rewritten(file: str, content: str | bytes) -> Callable[[Path], list[str]]:
    """The file has other content."""

    def arrange(folder: Path) -> list[str]:
        (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)
        return []

    return arrange


def cut(file: str) -> Callable[[Path], list[str]]:
    """The file ends after its first 1000 bytes."""

    def arrange(folder: Path) -> list[str]:
        path = folder / file
        path.write_bytes(path.read_bytes()[:1000])
        return []

    return arrange


def appended(file: str, text: str) -> Callable[[Path], list[str]]:
    """The file has more lines."""

    def arrange(folder: Path) -> list[str]:
        with (folder / file).open("a") as stream:
            stream.write(text)
        return []

    return arrange


def resampled(file: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], list[str]]:
    """The recording holds other samples, as 32-bit floats."""

    def arrange(folder: Path) -> list[str]:
        waveform, rate = soundfile.read(folder / file)
        soundfile.write(folder / file, change(waveform), rate, subtype="FLOAT")
        return []

    return arrange


def joined_with_itself(folder: Path) -> list[str]:
    corpus = f"{{name: soundscapes, root: {folder / 'scenes'}, part: train}}"
    return ["--set", f"data.train.0.more=[{corpus}]"]


STRONG = "filename\tonset\toffset\tevent_label\n"
BAD_INPUT: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "unknown key": (appended("conf.yaml", "bogus: 1\n"), "conf.yaml: bogus: unknown key (value 1)"),
    "misspelt key": (
        override("training.n_epoch=3"),
        "--set: training.n_epoch: unknown key (value 3); did you mean 'n_epochs'?",
    ),
    "wrong type": (override("training.n_epochs=many"), "--set: training.n_epochs: "),
    "not YAML": (rewritten("conf.yaml", "labels: [a\n"), "conf.yaml: not valid YAML"),
    "warm-up longer than training": (override("training.n_epochs_warmup=9"), "n_epochs_warmup 9 exceeds n_epochs 2"),
    "decay after the end": (override("training.decay_from_epoch=2"), "decay_from_epoch 2 is not before n_epochs 2"),
    "validation after the end": (
        override("training.validation_interval=3"),
        "validation_interval 3 exceeds n_epochs 2",
    ),
    "band above half the rate": (
        override("features.f_max=9000.0"),
        "f_max 9000 Hz is above half the sample rate of 16000 Hz",
    ),
    "pooling and filters": (override("model.nb_filters=[4]"), "nb_filters has 1 entries and pooling 2"),
    "pooling and bands": (override("features.n_mels=8"), "model.pooling leaves nothing of features.n_mels 8"),
    "overlap and window": (override("data.overlap_frames=31"), "data.overlap_frames 31 is not less than the 31 frames"),
    "no augmentation of that name": (override("augmentations=[{name: echo}]"), "'echo' is none of 'mixup', "),
    "class twice": (override("labels=[hum, hum]"), "class 'hum' stands twice in the label set"),
    "threshold of no class": (
        override("postprocessing={threshold: {default: 0.5, Bird: 0.3}}"),
        "threshold: 'Bird' is not a class",
    ),
    "weak test set": (override("data.test.supervision=weak"), "data.test.supervision must be strong"),
    "missing conf": (lambda folder: ["--conf_file", str(folder / "gone.yaml")], "gone.yaml: no such conf"),
    "missing folder": (override("data.test.corpus.part=gone"), "scenes/gone: no soundscapes here"),
    "missing recording": (
        lambda folder: (folder / "scenes/test/audio/test_0.wav").unlink() or [],
        "test_0.wav: missing (1 of 4 recordings)",
    ),
    "truncated training recording": (cut("scenes/train/audio/train_7.wav"), "train_7.wav: truncated, "),
    "truncated validation recording": (
        cut("scenes/validation/audio/validation_2.wav"),
        "validation_2.wav: truncated, ",
    ),
    "truncated test recording": (cut("scenes/test/audio/test_3.wav"), "test_3.wav: truncated, "),
    "empty recording": (rewritten("scenes/weak/audio/weak_1.wav", b""), "weak_1.wav: the file is empty (0 bytes)"),
    "no recording": (rewritten("scenes/test/audio/test_1.wav", "a letter"), "test_1.wav: not decodable audio"),
    "recording of NaN": (
        resampled("scenes/test/audio/test_3.wav", lambda waveform: waveform * np.nan),
        "test_3.wav: holds NaN or infinite samples",
    ),
    "recording shorter than its table says": (
        resampled("scenes/train/audio/train_3.wav", lambda waveform: waveform[:8000]),
        "train_3.wav: lasts 0.50 s, 2 s in durations.tsv",
    ),
    "recording without samples": (
        resampled("scenes/validation/audio/validation_0.wav", lambda waveform: waveform[:0]),
        "validation_0.wav: holds no samples",
    ),
    "corpora that share clips": (joined_with_itself, "train_0.wav is in it twice; name each corpus of a source once"),
    "real strong recordings that nobody named": (
        lambda folder: ["--strong_real"],
        "--strong_real: data.strong_real is not set in the conf",
    ),
    "one seed": (lambda folder: ["--seeds", "1"], "--seeds 1: a spread takes at least 2"),
    "two GPUs": (lambda folder: ["--gpus", "2"], "--gpus 2: write 0 (the CPU) or 1 (one GPU)"),
    "GPU and CPU": (lambda folder: ["--gpus", "1"], "--gpus 1 contradicts --device cpu"),
    "selection by no teacher": (
        lambda folder: ["--set=training.mean_teacher=null", "--set=training.selection_model=teacher"],
        "selection_model is teacher and mean_teacher is null",
    ),
    "a floor above the learning rate": (
        override("training.min_learning_rate=0.5"),
        "min_learning_rate 0.5 exceeds learning_rate 0.001",
    ),
    "a teacher without statistics": (
        override("training.mean_teacher={mode: eval}"),
        "mode eval never updates the teacher's own statistics",
    ),
    "offset before onset": (
        appended("scenes/validation/soundscapes.tsv", "validation_0.wav\t1.5\t1.2\thum\n"),
        "validation/soundscapes.tsv, row 5: offset 1.200 s is not after onset 1.500 s",
    ),
    "class not in the label set": (
        appended("scenes/train/soundscapes.tsv", "train_0.wav\t1.5\t1.7\tBird\n"),
        "train/soundscapes.tsv, row 10: class 'Bird' is not in the label set (hum, hiss)",
    ),
    "event of a file that is not listed": (
        appended("scenes/train/soundscapes.tsv", "other.wav\t0.5\t0.7\thum\n"),
        "train/soundscapes.tsv: other.wav is not in durations.tsv",
    ),
    "overlapping test events": (
        appended("scenes/test/soundscapes.tsv", "test_0.wav\t0.9\t1.7\thum\n"),
        "scenes_test: two hum events of test_0 overlap at 0.900 s",
    ),
    "empty table": (rewritten("scenes/test/soundscapes.tsv", ""), "test/soundscapes.tsv: the table is empty"),
    "table without a column": (
        rewritten("scenes/test/soundscapes.tsv", "filename\tonset\n"),
        "test/soundscapes.tsv, row 1: no column",
    ),
    "no recordings": (
        rewritten("scenes/test/durations.tsv", "filename\tduration\n"),
        "test/durations.tsv: lists no recording",
    ),
    "batch larger than its source": (
        override("data.train.1.batch_size=5"),
        "scenes_weak: 4 clips are fewer than its share of 5",
    ),
    "store that is a file": (
        lambda folder: ["--set", f"data.store={folder / 'conf.yaml'}"],
        "conf.yaml: the store cannot be written",
    ),
    "runs into a file": (
        lambda folder: ["--log_dir", str(folder / "conf.yaml" / "exp")],
        "conf.yaml is a file; name a folder",
    ),
    "device that is not there": (lambda folder: ["--device", "cuda:77"], "--device cuda:77: this machine has"),
    "no device": (lambda folder: ["--device", "gpu"], "--device gpu: write auto, cpu or cuda:N"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_one_sentence_and_nothing_is_written(name: str, refused: Refusal, tmp_path: Path) -> None:
    arrange, expected = BAD_INPUT[name]
    conf = write_training(tmp_path)
    more = arrange(tmp_path)
    before = set(tmp_path.rglob("*"))
    message = refused("--conf_file", str(conf), "--log_dir", str(tmp_path / "exp"), *more)
    assert expected in message
    assert set(tmp_path.rglob("*")) == before


def text_file(path: Path) -> None:
    path.write_text("not a checkpoint\n")


def other_torch_file(path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, path)


def checkpoint_without_models(path: Path) -> None:
    stored = read_options_of(path.parent)
    torch.save({"desed_task": {"format": 1, "options": stored}}, path)


def checkpoint_of_another_model(path: Path) -> None:
    stored = read_options_of(path.parent)
    torch.save({"desed_task": {"format": 1, "options": stored}, "sed_student": {"weight": torch.zeros(1)}}, path)


def read_options_of(folder: Path) -> dict[str, Any]:
    from desed_task.experiment import SedOptions

    options: dict[str, Any] = json.loads(read_options(folder / "conf.yaml", SedOptions).model_dump_json())
    return options


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "bad.ckpt: no such checkpoint"),
        (Path.touch, "bad.ckpt: not a readable checkpoint"),
        (text_file, "bad.ckpt: not a readable checkpoint"),
        (other_torch_file, "bad.ckpt: the checkpoint does not say how it was trained"),
        (checkpoint_without_models, "bad.ckpt: holds no model"),
        (checkpoint_of_another_model, "bad.ckpt, student: the weights do not fit the model"),
    ],
)
def test_what_is_no_checkpoint_is_refused(
    make: Callable[[Path], None], expected: str, refused: Refusal, tmp_path: Path
) -> None:
    write_training(tmp_path)
    make(tmp_path / "bad.ckpt")
    message = refused("--test_from_checkpoint", str(tmp_path / "bad.ckpt"), "--log_dir", str(tmp_path / "exp"))
    assert expected in message
    assert not (tmp_path / "exp").exists()


def test_stored_options_cannot_be_overridden_unnoticed(training: Path, refused: Refusal, tmp_path: Path) -> None:
    checkpoint = str(best_of(training / "exp" / "version_0"))
    common = ["--test_from_checkpoint", checkpoint, "--log_dir", str(tmp_path / "exp")]
    message = refused(*common, "--set", "postprocessing.threshold=0.3")
    assert "postprocessing.threshold=0.3: a checkpoint is used with its stored options; only data.test" in message
    assert "scenes/gone: no soundscapes here" in refused(*common, "--set", "data.test.corpus.part=gone")
    heard = ["--eval_from_checkpoint", checkpoint, "--log_dir", str(tmp_path / "exp")]
    message = refused(*heard, "--set", "data.evaluation_length=clip")  # begins as data.eval does, and is another key
    assert "data.evaluation_length=clip: a checkpoint is used with its stored options; only data.eval can" in message
    assert not (tmp_path / "exp").exists()


def test_an_unknown_flag_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["train_sed.py", "--epochs", "3"])
    with pytest.raises(SystemExit) as ended:
        run_recipe(main)
    assert ended.value.code == 2
    assert "unrecognized arguments: --epochs 3" in capsys.readouterr().err
