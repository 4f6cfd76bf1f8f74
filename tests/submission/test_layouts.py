"""Layouts in use, each recognised by its files and folders, and read through to the runs."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sound_submissions import (
    DURATIONS,
    LABELS,
    META,
    SCORES,
    write_evaluation_set,
    write_events,
    write_lines,
    write_package,
    write_points,
    write_scores,
)

from desed_task.errors import SubmissionError
from desed_task.metrics.rules import Rules
from desed_task.submission.checking import Submission
from desed_task.submission.evaluation_set import EvaluationSet, read_evaluation_set
from desed_task.submission.faults import Faults
from desed_task.submission.packages import open_submission
from desed_task.submission.score_folders import Memory, check_score_folder

WORDS = {"scores": "scores", "raw_scores": "raw", "points": "points", "events": "events"}


@pytest.fixture
def evaluation_set(tmp_path: Path) -> EvaluationSet:
    return read_evaluation_set(*write_evaluation_set(tmp_path / "set"))


def opened(path: Path, evaluation_set: EvaluationSet) -> Submission:
    with open_submission(path, evaluation_set) as submission:
        return submission


def shape(path: Path, evaluation_set: EvaluationSet) -> dict[str, dict[str, str]]:
    """system -> run -> what it holds."""
    return {
        system.label: {
            run.name: " ".join(word for name, word in WORDS.items() if getattr(run, name) is not None)
            for run in system.runs
        }
        for system in opened(path, evaluation_set).systems
    }


def test_a_folder_of_scores(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_scores(tmp_path / "mine")
    assert shape(tmp_path / "mine", evaluation_set) == {"mine": {"mine": "scores"}}


def test_scores_keep_every_digit_and_their_own_windows(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_scores(tmp_path / "mine")
    write_lines(tmp_path / "mine" / "c.tsv", ("onset", "offset", "Cat", "Dog"), (0, 6, -12.000000001, 1e9))
    (run,) = opened(tmp_path / "mine", evaluation_set).systems[0].runs
    assert run.scores is not None
    assert run.scores["a"].edges.tolist() == [0, 4, 6, 8, 9.9]
    assert run.scores["a"].values.dtype == np.float64
    assert run.scores["c"].values.tolist() == [[-12.000000001, 1e9]]


def test_a_folder_of_raw_scores_that_is_itself_submitted(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_scores(tmp_path / "raw")
    assert shape(tmp_path / "raw", evaluation_set) == {"raw": {"raw": "scores"}}


@pytest.mark.parametrize(
    "names",
    [
        ("predictions_th_0.01.tsv", "predictions_th_0.99.tsv"),
        ("0.010.tsv", "0.990.tsv"),
        ("baseline_0.1.csv", "baseline_1.0.csv"),
        ("th0.1.tsv", "th0.2.tsv"),
        ("predictions_0.1.tsv", "predictions_0.5.tsv", "predictions_05_student_0.7.tsv"),
    ],
)
def test_operating_points_in_every_naming(
    names: tuple[str, ...], tmp_path: Path, evaluation_set: EvaluationSet
) -> None:
    for name in names:
        write_events(tmp_path / "mine" / name)
    (run,) = opened(tmp_path / "mine", evaluation_set).systems[0].runs
    assert run.points is not None
    assert len(run.points) == len(names)


def test_operating_points_with_the_decisions_of_the_baseline_beside_them(
    tmp_path: Path, evaluation_set: EvaluationSet
) -> None:
    write_points(tmp_path / "student")
    write_events(tmp_path / "student" / "predictions_05_student.tsv")
    assert shape(tmp_path / "student", evaluation_set) == {"student": {"student": "points events"}}


def test_a_broken_operating_point_is_not_overlooked(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_points(tmp_path / "mine")
    for content in ("", "nonsense", "onset\tlabel"):
        (tmp_path / "mine" / "predictions_th_0.90.tsv").write_text(content)
        with pytest.raises(SubmissionError, match=r"predictions_th_0\.90\.tsv"):
            opened(tmp_path / "mine", evaluation_set)


def test_an_operating_point_without_any_event(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_points(tmp_path / "mine")
    write_lines(tmp_path / "mine" / "predictions_th_0.99.tsv", ("event_label", "onset", "offset", "filename"))
    (run,) = opened(tmp_path / "mine", evaluation_set).systems[0].runs
    assert run.points is not None
    assert [len(table) for table in run.points.values()] == [3, 3, 3, 0]


def test_an_event_list_with_commas_an_index_and_its_columns_in_any_order(
    tmp_path: Path, evaluation_set: EvaluationSet
) -> None:
    path = tmp_path / "predictions0.5.csv"
    rows = ((0, "Cat", 0.5, 4, "a.wav"), (1, "Dog", 2, 8, "b"))
    write_lines(path, ("", "event_label", "onset", "offset", "filename"), *rows, separator=",")
    (run,) = opened(path, evaluation_set).systems[0].runs
    assert run.events is not None
    assert run.events.filename.tolist() == ["a.wav", "b"]
    assert run.points is None


def test_the_test_folder_of_the_baselines_of_2021(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    for model in ("student", "teacher"):
        for scenario, criteria in (("scenario1", "dtc0.7_gtc0.7_cttc0.3"), ("scenario2", "dtc0.1_gtc0.1_cttc0.3")):
            write_points(tmp_path / "metrics_test" / model / scenario / f"predictions_{criteria}")
        (tmp_path / "metrics_test" / model / "event_f1.txt").touch()
    expected = {model: {model: "points"} for model in ("student", "teacher")}
    assert shape(tmp_path / "metrics_test", evaluation_set) == expected


@pytest.mark.parametrize("between", ["_scores", "/scores"])
def test_the_test_folder_of_the_baselines_since_2023_and_of_our_trainings(
    between: str, tmp_path: Path, evaluation_set: EvaluationSet
) -> None:
    for model in ("student", "teacher"):
        for kind in ("raw", "postprocessed"):
            write_scores(tmp_path / "metrics_test" / f"{model}{between}" / kind)
    expected = {model: {model: "scores raw"} for model in ("student", "teacher")}
    assert shape(tmp_path / "metrics_test", evaluation_set) == expected


def test_a_training_run_of_ours_gives_scores_points_and_decisions(
    tmp_path: Path, evaluation_set: EvaluationSet
) -> None:
    folder = tmp_path / "metrics_test" / "student"
    for kind in ("raw", "postprocessed"):
        write_scores(folder / "scores" / kind)
    write_points(folder / "scenario1" / "predictions_dtc0.7_gtc0.7_cttc0.3")
    write_events(folder / "detections.tsv")
    write_events(folder / "events.tsv")
    write_lines(folder / "tags.tsv", ("filename", "event_label", "score"), ("a.wav", "Cat", 0.9))
    assert shape(tmp_path / "metrics_test", evaluation_set) == {"student": {"student": "scores raw points events"}}
    assert shape(folder, evaluation_set) == {"student": {"student": "scores raw points events"}}


def test_the_published_folder_with_its_own_ground_truth_beside_the_detections(tmp_path: Path) -> None:
    evaluation_set = read_evaluation_set(*write_evaluation_set(tmp_path / "dcase2021"))
    write_points(tmp_path / "dcase2021" / "predictions_operating_points")
    write_events(tmp_path / "dcase2021" / "predictions0.5.csv")
    assert shape(tmp_path / "dcase2021", evaluation_set) == {"dcase2021": {"dcase2021": "points events"}}


def test_a_package_of_2024(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_package(tmp_path / "package")
    expected = {label: {f"run{run}": "scores raw" for run in (1, 2, 3)} for label in LABELS}
    assert shape(tmp_path / "package", evaluation_set) == expected
    first = opened(tmp_path / "package", evaluation_set).systems[0]
    assert first.meta is not None
    assert (first.meta.energy_training, first.meta.macs, first.notes) == (1.717, 930.902e6, ())


def test_one_system_of_a_package(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_package(tmp_path / "package")
    runs = {f"run{run}": "scores raw" for run in (1, 2, 3)}
    assert shape(tmp_path / "package" / LABELS[0], evaluation_set) == {LABELS[0]: runs}


@pytest.mark.parametrize("wrapped", ["", "Tester_LAB/", "Tester_LAB/task4/"])
def test_a_packed_package_however_it_is_wrapped(wrapped: str, tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_package(tmp_path / "package")
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as package:
        for path in (tmp_path / "package").rglob("*.*"):
            package.write(path, wrapped + str(path.relative_to(tmp_path / "package")))
        package.writestr("__MACOSX/._report.pdf", b"")
    assert list(shape(tmp_path / "package.zip", evaluation_set)) == list(LABELS)


@pytest.mark.parametrize(
    ("raw", "postprocessed"),
    [
        ("raw/run{}", "postprocessed/run{}"),
        ("run_{}/raw", "run_{}/postprocessed"),
        ("run{}/unprocessed", "run{}/processed"),
        ("scores_run{}_raw", "scores_run{}"),
        ("{label}_run{}_raw", "{label}_run{}_postprocessed"),
    ],
)
def test_runs_in_other_namings(raw: str, postprocessed: str, tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    for run in (1, 2, 3):
        for name in (raw, postprocessed):
            write_scores(tmp_path / "mine" / LABELS[0] / name.format(run, label=LABELS[0]))
    runs = {f"run{run}": "scores raw" for run in (1, 2, 3)}
    assert shape(tmp_path / "mine", evaluation_set) == {LABELS[0]: runs}


def test_seeds_without_a_package_are_runs_of_one_system(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    for seed in (42, 43):
        write_scores(tmp_path / "mine" / f"seed_{seed}" / "scores")
    assert shape(tmp_path / "mine", evaluation_set) == {"mine": {"seed42": "scores", "seed43": "scores"}}


def test_folders_with_names_of_their_own_are_systems(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    for name in ("crnn", "beats"):
        write_scores(tmp_path / "mine" / name)
    assert shape(tmp_path / "mine", evaluation_set) == {"beats": {"beats": "scores"}, "crnn": {"crnn": "scores"}}


def test_energy_tables_and_reports_in_a_package_are_no_outputs(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_package(tmp_path / "package")
    folder = tmp_path / "package" / LABELS[0]
    write_lines(folder / "codecarbon" / "emissions_baseline_test.csv", ("timestamp", "energy_consumed"), separator=",")
    write_lines(folder / "emissions.csv", ("timestamp", "energy_consumed"), separator=",")
    (folder / "technical_report.pdf").touch()
    assert len(shape(tmp_path / "package", evaluation_set)[LABELS[0]]) == 3


def test_a_yaml_beside_the_folders_of_the_systems(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_scores(tmp_path / "package" / LABELS[0])
    (tmp_path / "package" / f"{LABELS[0]}.meta.yaml").write_text(META.format(label=LABELS[0]))
    (system,) = opened(tmp_path / "package", evaluation_set).systems
    assert system.meta is not None


def test_what_is_incomplete_is_noted_and_not_refused(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    for audio_id in ("a", "b"):
        write_scores(tmp_path / "all")
        (tmp_path / "mine" / LABELS[0] / "run1").mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "all" / f"{audio_id}.tsv", tmp_path / "mine" / LABELS[0] / "run1")
    (system,) = opened(tmp_path / "mine", evaluation_set).systems
    assert system.runs[0].clips == ("a", "b")
    assert "2 of 3 files present: not comparable with published numbers" in system.runs[0].notes
    assert system.notes[0].startswith("1 of 3 runs present")
    assert system.notes[1].startswith("no meta YAML")


def test_what_passes_the_end_of_its_clip_but_no_other_is_counted(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    events = tmp_path / "events.tsv"
    write_lines(events, ("filename", "onset", "offset", "event_label"), ("c.wav", 5, 9.984, "Cat"))
    (run,) = opened(events, evaluation_set).systems[0].runs
    assert run.notes == ("1 events pass the end of their clip; they count as they are",)


def test_scores_that_do_not_fit_in_memory_are_read_again(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_scores(tmp_path / "mine")
    one_table = 2 * 4 * 8 + 5 * 8
    memory = Memory(one_table)
    scores = check_score_folder(tmp_path / "mine", evaluation_set, Faults(tmp_path), memory)
    assert scores is not None
    assert memory.bytes_left == 0
    for audio_id, windows in SCORES.items():
        assert scores[audio_id].values[:, 0].tolist() == [window[2] for window in windows]
    assert scores["a"] is scores["a"]
    assert scores["b"] is not scores["b"]


def test_the_ground_truth_may_use_part_of_the_classes_of_desed(tmp_path: Path) -> None:
    rows = (("a.wav", 0, 1, "Dog"),)
    write_lines(tmp_path / "truth.tsv", ("filename", "onset", "offset", "event_label"), *rows)
    write_lines(tmp_path / "durations.tsv", ("filename", "duration"), *DURATIONS.items())
    evaluation_set = read_evaluation_set(tmp_path / "truth.tsv", tmp_path / "durations.tsv")
    assert "Speech" in evaluation_set.event_labels


def test_the_published_student_and_the_example_of_psds_eval(shared_data: Path) -> None:
    student = shared_data / "reference" / "dcase2021_student"
    evaluation_set = read_evaluation_set(student / "validation.tsv", student / "validation_durations.tsv")
    (run,) = opened(student, evaluation_set).systems[0].runs
    assert run.points is not None
    assert run.events is not None
    assert (len(run.points), len(run.events), len(run.clips)) == (50, 3312, 1168)
    example = shared_data / "reference" / "psds_eval_example"
    tables = example / "dcase2019t4_gt.csv", example / "dcase2019t4_meta.csv"
    (run,) = opened(example, read_evaluation_set(*tables, Rules(overlap="allow"))).systems[0].runs
    assert run.points is not None
    assert list(run.points) == pytest.approx([0.1 * k for k in range(1, 11)])


def test_event_lists_called_by_runs_are_the_decisions_of_runs(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    for run in (1, 2, 3):
        write_events(tmp_path / "mine" / f"predictions_run{run}.tsv")
    assert shape(tmp_path / "mine", evaluation_set) == {"mine": {f"run{run}": "events" for run in (1, 2, 3)}}
