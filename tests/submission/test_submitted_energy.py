"""Energies that stand in CodeCarbon's tables and in reports of trainings, where no meta gives a number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sound_submissions import LABELS, META, write_evaluation_set, write_lines, write_package, write_scores

from desed_task.errors import SubmissionError
from desed_task.submission.checking import SubmittedSystem
from desed_task.submission.energy import SystemEnergy
from desed_task.submission.evaluation_set import read_evaluation_set
from desed_task.submission.packages import open_submission

COLUMNS = ("timestamp", "project_name", "run_id", "energy_consumed", "country_name")


def write_table(path: Path, *rows: tuple[str, object], project: str = "codecarbon") -> None:
    """rows: run_id, kWh."""
    write_lines(path, COLUMNS, *(("now", project, run_id, kwh, "France") for run_id, kwh in rows), separator=",")


def first_system(path: Path) -> SubmittedSystem:
    evaluation_set = read_evaluation_set(*write_evaluation_set(path.parent / "set"))
    with open_submission(path, evaluation_set) as submission:
        return submission.systems[0]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package whose first system says nothing of its energy; its folder."""
    write_package(tmp_path / "package")
    without = "\n".join(line for line in META.splitlines() if "energy" not in line.partition(":")[0])
    folder = tmp_path / "package" / LABELS[0]
    (folder / f"{LABELS[0]}.meta.yaml").write_text(without.format(label=LABELS[0]))
    return folder


def test_the_rows_of_the_tables_of_training_and_test_are_added_up(package: Path) -> None:
    write_table(package / "codecarbon" / "emissions_training.csv", ("a", 1.5), ("b", 0.25))
    write_table(package / "codecarbon" / "emissions_devtest.csv", ("c", 0.03))
    write_table(package / "codecarbon" / "emissions_eval.csv", ("d", 9))
    system = first_system(package.parent)
    energy = system.energy
    assert (energy.training, energy.test, energy.baseline) == (1.75, 0.03, None)
    assert "energy read from codecarbon/emissions_devtest.csv, codecarbon/emissions_training.csv" in system.notes


def test_a_tracker_that_was_asked_twice_counts_once(package: Path) -> None:
    write_table(package / "emissions_train.csv", ("a", 1.0), ("a", 2.5), ("b", 0.5))
    assert first_system(package.parent).energy.training == 3.0


def test_one_table_for_all_is_told_apart_by_its_projects(package: Path) -> None:
    write_lines(
        package / "emissions.csv",
        COLUMNS,
        ("now", "DCASE Task 4 SED TRAINING", "a", 1.7, "France"),
        ("now", "DCASE Task 4 SED DEVTEST", "b", 0.03, "France"),
        ("now", "DCASE Task 4 SED EVALUATION", "c", 0.5, "France"),
        separator=",",
    )
    energy = first_system(package.parent).energy
    assert (energy.training, energy.test) == (1.7, 0.03)


def test_tables_of_the_runs_are_averaged(package: Path) -> None:
    for run, kwh in ((1, 1.0), (2, 2.0), (3, 6.0)):
        write_table(package / "energy" / f"run{run}_training.csv", ("a", kwh))
    write_table(package / "energy" / "test.csv", ("a", 0.5))
    energy = first_system(package.parent).energy
    assert (energy.training, energy.test) == (3.0, 0.5)


def test_tables_of_the_baseline_are_the_run_of_the_baseline_where_there_are_others(package: Path) -> None:
    for part, kwh in (("training", 0.5), ("test", 0.25)):
        write_table(package / "codecarbon" / f"emissions_baseline_{part}.csv", ("a", kwh))
    energy = first_system(package.parent).energy
    assert (energy.training, energy.test, energy.baseline) == (0.5, 0.25, None)
    write_table(package / "codecarbon" / "emissions_training.csv", ("a", 4.0))
    write_table(package / "codecarbon" / "emissions_test.csv", ("a", 0.125))
    energy = first_system(package.parent).energy
    assert (energy.training, energy.test, energy.baseline) == (4.0, 0.125, 0.75)


def test_a_number_of_the_meta_comes_before_the_tables(package: Path) -> None:
    write_table(package / "emissions_training.csv", ("a", 4.0))
    write_table(package / "emissions_test.csv", ("a", 0.5))
    (package / f"{LABELS[0]}.meta.yaml").write_text(f"submission: {{label: {LABELS[0]}}}\nenergy_training: 1.0\n")
    energy = first_system(package.parent).energy
    assert (energy.training, energy.test) == (1.0, 0.5)


@pytest.mark.parametrize("cell", ["", "many", "-1", "nan"])
def test_an_energy_that_is_none_is_refused_with_its_row(cell: str, package: Path) -> None:
    write_table(package / "emissions_training.csv", ("a", 1.0), ("b", cell))
    with pytest.raises(SubmissionError, match=r"emissions_training\.csv, row 3: energy_consumed .*; mend it"):
        first_system(package.parent)


def test_a_training_has_its_energies_in_its_report_or_else_in_its_tables(tmp_path: Path) -> None:
    run = tmp_path / "exp" / "version_0"
    write_scores(run / "metrics_test" / "student" / "scores" / "postprocessed")
    write_table(run / "training_codecarbon" / "emissions.csv", ("a", 1.0))
    write_table(run / "devtest_codecarbon" / "emissions.csv", ("a", 0.25))
    write_table(run / "scoring_codecarbon" / "emissions.csv", ("a", 8.0))
    assert first_system(run).energy == SystemEnergy(
        1.0, 0.25, None, ("devtest_codecarbon/emissions.csv", "training_codecarbon/emissions.csv")
    )
    report = {"energy_kwh_training": 2.0, "energy_kwh_inference": 0.5, "energy_kwh_scoring": 3.0}
    (run / "metrics_test" / "student" / "report.json").write_text(json.dumps(report))
    for path in (run, run / "metrics_test" / "student"):
        energy = first_system(path).energy
        assert (energy.training, energy.test) == (2.0, 0.5)


@pytest.mark.parametrize("text", ["", "[1]", '{"energy_kwh_training": "much"}', '{"energy_kwh_training": null}'])
def test_a_report_without_energies_is_passed_over(text: str, tmp_path: Path) -> None:
    write_scores(tmp_path / "mine" / "scores")
    (tmp_path / "mine" / "report.json").write_text(text)
    assert not first_system(tmp_path / "mine").energy.is_known
