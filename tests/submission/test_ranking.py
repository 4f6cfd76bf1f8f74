"""The ranking formulas against the organisers' own tables."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from desed_task.errors import DesedTaskError
from desed_task.submission.ranking import (
    BASELINE_MACS,
    EDITION_2022,
    EDITION_2023,
    EDITION_2024,
    PUBLISHED_ENERGY_DECIMALS_2023,
    Energy,
    Entry,
    PsdsPair,
    Ranks,
    edition_of,
    macs_per_ten_seconds,
    rank,
)

# Columns of the organisers' table that follow from the others.
DERIVED = {
    "ranking_score_all": lambda ranks: ranks.ranking_score,
    "EW_PSDS_1_all_test": lambda ranks: ranks.energy_weighted_test.psds1,
    "EW_PSDS_1_all_train": lambda ranks: ranks.energy_weighted_training.psds1,
    "EW_PSDS_2_all_test": lambda ranks: ranks.energy_weighted_test.psds2,
    "EW_PSDS_2_all_train": lambda ranks: ranks.energy_weighted_training.psds2,
    "EW_ranking_score_all_test": lambda ranks: ranks.energy_weighted_score_test,
    "EW_ranking_score_all_train": lambda ranks: ranks.energy_weighted_score_training,
}


def cell(text: str) -> float | None:
    return float(text) if text else None


@pytest.fixture(scope="module")
def entries_2022(shared_data: Path) -> dict[str, dict[str, str]]:
    with (shared_data / "ranking" / "dcase2022_task4_entries.tsv").open(encoding="utf-8") as table:
        return {row["code"]: row for row in csv.DictReader(table, delimiter="\t")}


def ranks_2022(row: dict[str, str]) -> Ranks:
    energy = Energy(cell(row["energy_training"]), cell(row["energy_test"]))
    return rank(Entry(PsdsPair(cell(row["PSDS_1_all"]), cell(row["PSDS_2_all"])), energy), EDITION_2022)


@pytest.mark.parametrize("column", DERIVED)
def test_every_cell_of_2022_follows_from_the_others(entries_2022: dict[str, dict[str, str]], column: str) -> None:
    assert len(entries_2022) == 101
    present = {code: float(row[column]) for code, row in entries_2022.items() if row[column]}
    assert len(present) == (101 if column == "ranking_score_all" else 81)
    computed = {code: DERIVED[column](ranks_2022(entries_2022[code])) for code in present}
    assert computed == pytest.approx(present, rel=1e-3)


@pytest.mark.parametrize("column", [column for column in DERIVED if column.startswith("EW")])
def test_cells_that_are_empty_in_2022_are_undefined(entries_2022: dict[str, dict[str, str]], column: str) -> None:
    absent = [DERIVED[column](ranks_2022(row)) for row in entries_2022.values() if not row[column]]
    assert absent == [None] * 20


# 2023: psds 1, psds 2 (printed with three digits), kWh training, test, own baseline run -> EW-PSDS 1 test, training,
# EW ranking score test, training; as in the organisers' table of that year.
BASELINE_2023 = Entry(PsdsPair(0.3270769, 0.5381067), Energy(1.39, 0.019), 0.032)
ENTRIES_2023 = {
    "Baseline_1": (0.3270769, 0.5381067, 1.39, 0.019, 0.032, 0.3270769, 0.3270769, 1.0, 1.0),
    "Baseline_2": (0.510, 0.798, 1.821, 0.020, 0.032, 0.4841377, 0.3890005, 1.4442915, 1.1604758),
    "Li_USTC_2": (0.556, 0.781, 2.03, 0.006, 0.010, 0.5555402, 0.1188733, 1.5752776, 0.3370745),
    "Xiao_FMSG_4": (0.551, 0.813, 0.76, 0.006, 0.030, 1.7456863, 0.9448390, 5.0616837, 2.7395965),
}


@pytest.mark.parametrize("code", ENTRIES_2023)
def test_published_figures_of_2023(code: str) -> None:
    psds1, psds2, training, test, run, *published = ENTRIES_2023[code]
    entry = Entry(PsdsPair(psds1, psds2), Energy(training, test), run)
    ranks = rank(entry, EDITION_2023, BASELINE_2023, decimals=PUBLISHED_ENERGY_DECIMALS_2023)
    computed = [
        ranks.energy_weighted_test.psds1,
        ranks.energy_weighted_training.psds1,
        ranks.energy_weighted_score_test,
        ranks.energy_weighted_score_training,
    ]
    assert computed == pytest.approx(published, rel=1.1e-3)


def test_energies_of_2023_are_corrected_for_the_hardware() -> None:
    # .006 kWh where the baseline took .010 instead of .032 kWh: .0192 there; 2.03 kWh: 6.496.
    ranks = rank(Entry(PsdsPair(0.5549, 0.78), Energy(2.03, 0.006), 0.01), EDITION_2023, BASELINE_2023)
    assert ranks.energy_weighted_test.psds1 == pytest.approx(0.5549 * 0.019 / 0.0192)
    assert ranks.energy_weighted_training.psds1 == pytest.approx(0.1187, abs=5e-5)


def test_ranking_scores_of_2023_are_relative_to_the_baseline_of_the_set() -> None:
    baseline = Entry(PsdsPair(0.326, 0.539))
    assert rank(baseline, EDITION_2023, baseline).ranking_score == 1.0
    scored = {(0.624, 0.856): 1.751, (0.610, 0.846): 1.720, (0.508, 0.798): 1.520}
    for (psds1, psds2), published in scored.items():
        ranks = rank(Entry(PsdsPair(psds1, psds2)), EDITION_2023, baseline)
        assert ranks.ranking_score == pytest.approx(published, abs=2e-3)


def test_2024_compares_energies_relative_to_the_own_run_of_the_baseline() -> None:
    # The baseline's training takes 10 of its runs, the system's 5 of its own: twice the score, on whatever machine.
    baseline = Entry(PsdsPair(0.5, 0.8), Energy(2.0, 0.2), 0.2)
    system = Entry(PsdsPair(0.5, 0.4), Energy(10.0, 2.0), 2.0)
    ranks = rank(system, EDITION_2024, baseline)
    assert ranks.energy_weighted_training == PsdsPair(1.0, 0.8)
    assert ranks.energy_weighted_test == PsdsPair(0.5, 0.4)
    assert ranks.ranking_score == 0.75
    assert rank(baseline, EDITION_2024, baseline).energy_weighted_training == baseline.psds


def test_the_reference_that_is_missing_is_asked_for() -> None:
    system = Entry(PsdsPair(0.5, 0.7), Energy(1.0, 0.1))
    alone = rank(system, EDITION_2024)
    assert alone.ranking_score is None
    assert any("name the baseline's submission" in remark for remark in alone.remarks)
    assert any("ten epochs of the baseline's training" in remark for remark in alone.remarks)
    against = rank(system, EDITION_2023, BASELINE_2023)
    assert against.ranking_score is not None
    assert against.energy_weighted_score_test is None
    assert [remark for remark in against.remarks if "energy_baseline" in remark]


@pytest.mark.parametrize("psds", [PsdsPair(None, 0.5), PsdsPair(0.5, None)])
def test_an_undefined_psds_is_not_ranked(psds: PsdsPair) -> None:
    assert rank(Entry(psds), EDITION_2022).ranking_score is None


def test_a_baseline_of_zero_ranks_nobody() -> None:
    ranks = rank(Entry(PsdsPair(0.5, 0.5)), EDITION_2023, Entry(PsdsPair(0.0, 0.5)))
    assert ranks.ranking_score is None
    assert "PSDS of 0" in ranks.remarks[0]


@pytest.mark.parametrize("kwh", [0.0, -1.0, float("nan"), float("inf")])
def test_an_energy_that_cannot_be_is_refused(kwh: float) -> None:
    with pytest.raises(DesedTaskError, match="kWh cannot be"):
        Entry(PsdsPair(0.5, 0.5), Energy(test_kwh=kwh))


def test_an_unknown_year_is_refused_with_the_known_ones() -> None:
    assert edition_of(2022) is EDITION_2022
    with pytest.raises(DesedTaskError, match="no ranking rules for 2019; there are those of 2022, 2023, 2024"):
        edition_of(2019)


def test_macs_are_for_ten_seconds() -> None:
    assert macs_per_ten_seconds(BASELINE_MACS / 2, 5.0) == BASELINE_MACS
