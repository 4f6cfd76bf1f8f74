"""Two seeds with real strong recordings joined in, then their checkpoint on recordings without labels."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from training_scenes import write_training

from desed_task.audio.reading import write_waveform
from desed_task.errors import OptionsError
from desed_task.experiment import SedOptions
from desed_task.options import read_options
from desed_task.runs.detection import DETECTION
from desed_task.runs.seeds import _is_of_these_clips, summarise
from recipes.train_sed import main

STRONG_REAL = '  strong_real: {name: soundscapes, root: "${here}/scenes", part: validation}\n'


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two trainings in exp/, seeds 42 and 43."""
    folder = tmp_path_factory.mktemp("series")
    conf = write_training(folder)
    conf.write_text(conf.read_text().replace("training:", STRONG_REAL + "training:"))
    assert main(arguments(folder, "--strong_real", "--seeds", "2")) == 0
    return folder


def arguments(folder: Path, *more: str) -> list[str]:
    return ["--conf_file", str(folder / "conf.yaml"), "--log_dir", str(folder / "exp"), "--device", "cpu", *more]


def test_each_seed_has_its_run_and_the_summary_has_the_means(series: Path) -> None:
    summary = json.loads((series / "exp" / "seeds_42-43.json").read_text())
    assert summary["seeds"] == {"42": "version_0", "43": "version_1"}
    values = [
        json.loads((series / "exp" / run / "metrics_test" / "student" / "report.json").read_text())["segment_f1_macro"]
        for run in ("version_0", "version_1")
    ]
    figure = summary["models"]["student"]["segment_f1_macro"]
    assert figure["mean"] == pytest.approx(np.mean(values))
    assert figure["std"] == pytest.approx(np.std(values, ddof=1))
    low, high = figure["interval_95"]
    assert high - low == pytest.approx(2 * 12.706 * figure["std"] / 2**0.5)
    assert set(summary["models"]) == {"student", "teacher"}
    confs = [(series / "exp" / run / "conf.yaml").read_text() for run in ("version_0", "version_1")]
    assert [re.findall(r"seed: (\d+)", conf) for conf in confs] == [["42"], ["43"]]


def test_strong_real_joins_the_first_strong_source(series: Path) -> None:
    conf = (series / "exp" / "version_0" / "conf.yaml").read_text()
    first_source = conf[conf.index("train:") : conf.index("supervision: strong")]
    assert "more:\n    - name: soundscapes" in first_source
    assert "part: validation" in first_source
    assert len(list((series / "store").glob("*train*.int16"))) == 1  # the joined clips are in the stores of their own


def test_a_series_that_was_interrupted_goes_on(series: Path, tmp_path: Path) -> None:
    shutil.copytree(series / "exp" / "version_0", tmp_path / "exp" / "version_0")
    before = (tmp_path / "exp" / "version_0" / "metrics_test" / "student" / "report.json").stat().st_mtime_ns
    argv = ["--conf_file", str(series / "conf.yaml"), "--log_dir", str(tmp_path / "exp"), "--device", "cpu"]
    assert main([*argv, "--strong_real", "--seeds", "2"]) == 0
    assert sorted(path.name for path in (tmp_path / "exp").glob("version_*")) == ["version_0", "version_1"]
    report = tmp_path / "exp" / "version_0" / "metrics_test" / "student" / "report.json"
    assert report.stat().st_mtime_ns == before
    # A run that was only a trial is none of the series.
    code = tmp_path / "exp" / "version_0" / "code.json"
    code.write_text(json.dumps({**json.loads(code.read_text()), "fast_dev_run": "yes"}))
    summary = (tmp_path / "exp" / "seeds_42-43.json").read_text()
    assert main([*argv, "--strong_real", "--seeds", "2", "--fast_dev_run"]) == 0
    assert (tmp_path / "exp" / "seeds_42-43.json").read_text() == summary
    assert (tmp_path / "exp" / "seeds_42-43_fast_dev_run.json").is_file()
    assert main([*argv, "--strong_real", "--seeds", "2"]) == 0
    assert json.loads((tmp_path / "exp" / "seeds_42-43.json").read_text())["seeds"]["42"] == "version_4"
    mine, theirs = (json.loads((folder / "exp" / "seeds_42-43.json").read_text()) for folder in (tmp_path, series))
    assert mine["models"]["student"]["psds1"] == theirs["models"]["student"]["psds1"]


def test_looking_for_a_begun_run_makes_no_clip_resident(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(series / "exp" / "version_0", tmp_path / "version_0")
    conf = read_options(tmp_path / "version_0" / "conf.yaml", SedOptions)
    data = conf.data.model_copy(update={"residence": "resident"})
    monkeypatch.setattr("desed_task.data.resident._free_bytes", lambda device: 0.0)
    assert _is_of_these_clips(DETECTION, tmp_path / "version_0", conf.model_copy(update={"data": data}))


def test_a_run_on_other_labels_is_none_of_the_series(tmp_path: Path) -> None:
    argv = ["--conf_file", str(write_training(tmp_path)), "--log_dir", str(tmp_path / "exp"), "--device", "cpu"]
    argv += ["--seeds", "2", "--set", "training.n_epochs=1"]
    assert main(argv) == 0
    table = tmp_path / "scenes" / "train" / "soundscapes.tsv"
    table.write_text(table.read_text().replace("hum", "hiss", 1))
    assert main(argv) == 0
    summary = json.loads((tmp_path / "exp" / "seeds_42-43.json").read_text())
    assert summary["seeds"] == {"42": "version_2", "43": "version_3"}


def test_a_model_that_one_seed_could_not_score_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    figures = dict.fromkeys(DETECTION.figures, 0.5)
    summary = summarise([{"student": figures, "teacher": figures}, {"student": figures}], DETECTION.figures)
    assert list(summary) == ["student"]
    assert "the teacher of a seed has no report" in caplog.text


def test_strong_real_without_such_a_corpus_is_refused(series: Path, tmp_path: Path) -> None:
    argv = arguments(series, "--strong_real", "--set", "data.strong_real=null")
    with pytest.raises(OptionsError, match=r"--strong_real: data.strong_real is not set in the conf"):
        main(argv)


def test_one_seed_is_no_series(series: Path) -> None:
    with pytest.raises(OptionsError, match="--seeds 1: a spread takes at least 2"):
        main(arguments(series, "--seeds", "1"))


@pytest.fixture(scope="module")
def heard(series: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of --eval_from_checkpoint on two recordings, 0.9 s and 5.3 s long, without any table."""
    folder = tmp_path_factory.mktemp("heard")
    rng = np.random.default_rng(0)
    (folder / "audio").mkdir()
    for name, seconds in (("short", 0.9), ("long", 5.3)):
        write_waveform(folder / "audio" / f"{name}.wav", _noise(rng, seconds), 16_000)
    evaluated = f"data.eval={{name: folder, root: {folder / 'audio'}}}"
    checkpoint = str(series / "exp" / "version_0")
    argv = ["--eval_from_checkpoint", checkpoint, "--log_dir", str(folder / "exp"), "--device", "cpu"]
    assert main([*argv, "--set", evaluated]) == 0
    return folder / "exp" / "version_0"


def _noise(rng: np.random.Generator, seconds: float) -> np.ndarray:
    samples = np.arange(round(seconds * 16_000)) / 16_000
    hum = 0.3 * np.sin(2 * np.pi * 440 * samples) * (samples > 0.3)
    return (hum + 0.01 * rng.standard_normal(len(samples))).astype(np.float32)


def test_recordings_without_labels_get_scores_at_their_own_length(heard: Path) -> None:
    for model in ("student", "teacher"):
        for kind in ("raw", "postprocessed"):
            folder = heard / "metrics_test" / model / "scores" / kind
            ends = {}
            for path in folder.iterdir():
                rows = list(csv.DictReader(path.open(), delimiter="\t"))
                assert list(rows[0]) == ["onset", "offset", "hum", "hiss"]
                assert [row["onset"] for row in rows[1:]] == [row["offset"] for row in rows[:-1]]
                ends[path.name] = float(rows[-1]["offset"])
            assert ends == {"short.tsv": pytest.approx(0.9), "long.tsv": pytest.approx(5.3)}


def test_student_and_teacher_get_their_own_operating_points(heard: Path) -> None:
    tables = {}
    for model in ("student", "teacher"):
        folder = heard / "metrics_test" / model
        points = sorted(folder.glob("predictions_th_*.tsv"))
        assert [path.name for path in (points[0], points[-1])] == ["predictions_th_0.01.tsv", "predictions_th_0.99.tsv"]
        assert len(points) == 50
        header, *rows = points[0].read_text().splitlines()
        assert header.split("\t") == ["event_label", "onset", "offset", "filename"]
        assert {row.split("\t")[3] for row in rows} == {"long.wav", "short.wav"}
        assert max(float(row.split("\t")[2]) for row in rows if row.endswith("long.wav")) > 5.0
        assert (folder / "detections.tsv").is_file()
        tables[model] = [path.read_text() for path in (folder / "scores" / "raw").iterdir()]
    assert tables["student"] != tables["teacher"]


def test_energy_is_metered_and_nothing_is_scored(heard: Path) -> None:
    assert float((heard / "evaluation_codecarbon" / "eval_tot_kwh.txt").read_text()) > 0
    assert not list(heard.rglob("report.json"))
    assert not list(heard.rglob("*.partial"))


def test_an_evaluation_without_recordings_is_refused(series: Path, tmp_path: Path) -> None:
    argv = ["--eval_from_checkpoint", str(series / "exp" / "version_0"), "--log_dir", str(tmp_path / "exp")]
    with pytest.raises(OptionsError, match=r"data\.eval: not set; name the recordings"):
        main([*argv, "--device", "cpu"])
    assert not (tmp_path / "exp").exists()


def patterns(text: str, *writers: str) -> list[str]:
    """The files that docs/files.md says these write, as globs relative to a run folder."""
    found = []
    for row in re.findall(r"^\| (`.*`) \| (.*?) \| .* \|$", text, flags=re.MULTILINE):
        if any(writer in row[1] or row[1] == "all" for writer in writers):
            found += [name for cell in re.findall(r"`([^`]*)`", row[0]) for name in alternatives(cell)]
    return found


def alternatives(cell: str) -> list[str]:
    names = [cell]
    if "{student,teacher}" in cell:
        names = [cell.replace("{student,teacher}", model) for model in ("student", "teacher")]
    wild = {"th_N.tsv": "th_*.tsv", "/ID.tsv": "/*.tsv", "epoch=E-step=S": "epoch=*-step=*"}
    for words, glob in wild.items():
        names = [name.replace(words, glob) for name in names]
    return names


@pytest.mark.parametrize("kind", ["training", "eval"])
def test_a_run_writes_exactly_the_files_of_the_page(kind: str, series: Path, heard: Path, project: Path) -> None:
    page = (project / "docs" / "files.md").read_text()
    page = page[page.index("## A run") : page.index("Beside the runs")]
    run = series / "exp" / "version_0" if kind == "training" else heard
    globs = patterns(page, *(("training", "test") if kind == "training" else ("--eval_from_checkpoint",)))
    # A second file of a cell stands in the folder of the first.
    globs = [name if "/" in name or name != "segment_f1.txt" else "metrics_test/*/segment_f1.txt" for name in globs]
    written = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    matched = {glob: {str(path.relative_to(run)) for path in run.glob(glob)} for glob in globs}
    assert {glob for glob, files in matched.items() if not files} == set()
    assert written - set().union(*matched.values()) == set()
