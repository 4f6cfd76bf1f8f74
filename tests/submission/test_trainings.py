"""Run folders of this project: what they hold, and when several are runs of one system."""

from __future__ import annotations

from pathlib import Path

import pytest
from sound_submissions import write_evaluation_set, write_events, write_points, write_scores

from desed_task.errors import SubmissionError
from desed_task.submission.evaluation_set import EvaluationSet, read_evaluation_set
from desed_task.submission.packages import open_submission

CONF = "model: {{name: crnn, dropout: {dropout}}}\ntraining: {{seed: {seed}, log_dir: exp/{seed}}}\n"


@pytest.fixture
def evaluation_set(tmp_path: Path) -> EvaluationSet:
    return read_evaluation_set(*write_evaluation_set(tmp_path / "set"))


def write_run(
    folder: Path, seed: int = 42, dropout: float = 0.5, models: tuple[str, ...] = ("student", "teacher")
) -> None:
    """What a training leaves, without its checkpoints."""
    for model in models:
        test = folder / "metrics_test" / model
        for kind in ("raw", "postprocessed"):
            write_scores(test / "scores" / kind)
        for scenario in ("scenario1/predictions_dtc0.7_gtc0.7_cttc0.3", "scenario2/predictions_dtc0.1_gtc0.1_cttc0.3"):
            write_points(test / scenario)
        write_events(test / "detections.tsv")
        (test / "event_f1.txt").touch()
    (folder / "conf.yaml").write_text(CONF.format(seed=seed, dropout=dropout))
    (folder / "hparams.yaml").write_text("{}\n")
    (folder / "last.ckpt").touch()


def runs(path: Path, evaluation_set: EvaluationSet) -> dict[str, list[str]]:
    """system -> its runs, all of which have scores, raw scores, points and decisions."""
    with open_submission(path, evaluation_set) as submission:
        found = submission.systems
    for run in (run for system in found for run in system.runs):
        assert None not in (run.scores, run.raw_scores, run.points, run.events)
    return {system.label: [run.name for run in system.runs] for system in found}


@pytest.mark.parametrize("named", ["version_0", "", "version_0/metrics_test"])
def test_a_run_folder_gives_student_and_teacher(named: str, tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_run(tmp_path / "exp" / "version_0")
    expected = {model: [model] if named else ["version0"] for model in ("student", "teacher")}
    if not named:
        (tmp_path / "exp" / "training_codecarbon").mkdir()
        expected = {model: [model] for model in ("student", "teacher")}
    assert runs(tmp_path / "exp" / named, evaluation_set) == expected


def test_the_folder_of_one_model(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_run(tmp_path / "exp" / "version_0")
    path = tmp_path / "exp" / "version_0" / "metrics_test" / "student"
    assert runs(path, evaluation_set) == {"student": ["student"]}


def test_versions_with_the_same_conf_but_the_seed_are_runs(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    for number in range(3):
        write_run(tmp_path / "exp" / f"version_{number}", seed=42 + number)
    versions = ["version0", "version1", "version2"]
    assert runs(tmp_path / "exp", evaluation_set) == {"student": versions, "teacher": versions}


def test_folders_called_by_a_seed_are_runs(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    for name in ("mean_teacher", "supervised"):
        for seed in (42, 43):
            write_run(tmp_path / "exp" / name / str(seed) / "version_0", seed, models=("teacher",))
    expected = {name: ["seed42", "seed43"] for name in ("mean teacher teacher", "supervised teacher")}
    assert runs(tmp_path / "exp", evaluation_set) == expected


def test_versions_with_other_confs_are_no_runs_of_one_system(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_run(tmp_path / "exp" / "version_0")
    write_run(tmp_path / "exp" / "version_1", dropout=0.3)
    with pytest.raises(
        SubmissionError, match=r"version_1: .*than version_0 \(model\.dropout: 0\.5 and 0\.3\).*name each"
    ):
        runs(tmp_path / "exp", evaluation_set)


def test_a_conf_that_cannot_be_read_is_not_compared(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    for number in range(2):
        write_run(tmp_path / "exp" / f"version_{number}")
    (tmp_path / "exp" / "version_1" / "conf.yaml").write_text("a: [")
    assert list(runs(tmp_path / "exp", evaluation_set)) == ["student", "teacher"]
