"""Ranking: the figures by which DCASE Task 4 orders its systems, year by year.

    ranking score  = mean(PSDS1 / PSDS1_baseline, PSDS2 / PSDS2_baseline)
    EW-PSDS        = PSDS * kWh_baseline / kWh_system, for training and for the test apart (arXiv 2310.03455)
    EW ranking     = the ranking score of the two EW-PSDS

    year   PSDS of the baseline   energy of the baseline     correction for the hardware
    2022   .315 / .547            1.717 kWh / .030 kWh       none
    2023   that of the same set   1.390 kWh / .019 kWh       kWh * .032 / kWh of the participant's own baseline run
    2024   that of the same set   that of the same set       kWh / kWh of the participant's own baseline run

In 2024 that run is ten epochs of training and the inference on the dev-test; no energy of the organisers' own run is
published, so the baseline of the set, with its energies and its run, stands for it. Only energies relative to such a
run can be compared between machines; the run's own energy then cancels for the baseline.

Checked against the organisers' tables (the SED-carbon-footprint data): 2022 to 1e-3 in every cell; 2023 likewise when
`decimals` is 3, for they round the corrected energies to Wh, which moves EW-PSDS of thrifty systems by up to 10 %.
Energies are kWh. What cannot be computed is None, with a sentence in `remarks`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from desed_task.errors import DesedTaskError


@dataclass(frozen=True)
class PsdsPair:
    """PSDS of scenario 1 and 2, in [0, 1] (an energy-weighted one may be larger); None where not known."""

    psds1: float | None
    psds2: float | None


@dataclass(frozen=True)
class Energy:
    """kWh of the training and of the inference on the test set; None where not measured."""

    training_kwh: float | None = None
    test_kwh: float | None = None


@dataclass(frozen=True)
class Entry:
    """What is ranked. baseline_run_kwh: the entry's own measurement of the run that its `Edition` asks for."""

    psds: PsdsPair
    energy: Energy = Energy()
    baseline_run_kwh: float | None = None

    def __post_init__(self) -> None:
        for what in (self.energy.training_kwh, self.energy.test_kwh, self.baseline_run_kwh):
            if what is not None and not (math.isfinite(what) and what > 0):
                raise DesedTaskError(f"an energy of {what} kWh cannot be; give a positive number or leave it out")


@dataclass(frozen=True)
class Edition:
    """One year's rules. psds, energy, baseline_run_kwh: the baseline's, None where they are those of the same set.

    baseline_run: what each participant measures on the hardware of the entry; None without hardware correction.
    """

    year: int
    psds: PsdsPair | None
    energy: Energy | None
    baseline_run_kwh: float | None
    baseline_run: str | None


# The baseline of 2021 normalises the scores of 2022, so that of 2022 itself has .997.
EDITION_2022 = Edition(2022, PsdsPair(0.315, 0.547), Energy(1.717, 0.030), None, None)
# The energies of Baseline_1 as the organisers ran it; .032 kWh is the run that participants repeat.
EDITION_2023 = Edition(2023, None, Energy(1.390, 0.019), 0.032, "the baseline's run, as reported in energy_baseline")
EDITION_2024 = Edition(
    2024, None, None, None, "ten epochs of the baseline's training and its inference on the dev-test"
)
EDITIONS: Mapping[int, Edition] = {edition.year: edition for edition in (EDITION_2022, EDITION_2023, EDITION_2024)}

# The organisers' tables of 2023 hold corrected energies rounded so.
PUBLISHED_ENERGY_DECIMALS_2023 = 3

# MACs (thop) are for so many seconds of audio; the baseline without embeddings, 2022 and 2023.
MACS_SECONDS = 10.0
BASELINE_MACS = 930_902_000


@dataclass(frozen=True)
class Ranks:
    """All figures of one entry; `remarks`: why some are None, one sentence each."""

    ranking_score: float | None
    energy_weighted_training: PsdsPair
    energy_weighted_test: PsdsPair
    energy_weighted_score_training: float | None
    energy_weighted_score_test: float | None
    remarks: tuple[str, ...] = ()


def edition_of(year: int) -> Edition:
    """The rules of a year; DesedTaskError for one whose rules are not known."""
    if year not in EDITIONS:
        raise DesedTaskError(f"no ranking rules for {year}; there are those of {', '.join(map(str, EDITIONS))}")
    return EDITIONS[year]


def rank(entry: Entry, edition: Edition, baseline: Entry | None = None, *, decimals: int | None = None) -> Ranks:
    """The figures of an entry under the rules of a year.

    baseline: the baseline of the same set, for the years that normalise by it. decimals: round energies corrected for
    the hardware to so many digits, as published.
    """
    normaliser = edition.psds or (baseline.psds if baseline else None)
    training, test = (
        _energy_weighted(entry.psds, energy_factor(entry, edition, baseline, part, decimals))
        for part in ("training_kwh", "test_kwh")
    )
    return Ranks(
        ranking_score(entry.psds, normaliser),
        training,
        test,
        ranking_score(training, normaliser),
        ranking_score(test, normaliser),
        tuple(_remarks(entry, edition, baseline, normaliser)),
    )


def ranking_score(psds: PsdsPair, normaliser: PsdsPair | None) -> float | None:
    """mean(PSDS1 / PSDS1_baseline, PSDS2 / PSDS2_baseline); None where a part is missing or a baseline's is 0."""
    if normaliser is None or psds.psds1 is None or psds.psds2 is None or not (normaliser.psds1 and normaliser.psds2):
        return None
    return (psds.psds1 / normaliser.psds1 + psds.psds2 / normaliser.psds2) / 2


def energy_factor(
    entry: Entry, edition: Edition, baseline: Entry | None, part: str, decimals: int | None = None
) -> float | None:
    """kWh_baseline / kWh_entry, corrected for the hardware as the year wants it. part: a field of `Energy`."""
    own: float | None = getattr(entry.energy, part)
    reference_energy = edition.energy or (baseline.energy if baseline else None)
    reference: float | None = getattr(reference_energy, part, None)
    if edition.baseline_run is not None:
        run = edition.baseline_run_kwh or (baseline.baseline_run_kwh if baseline else None)
        if own is None or run is None or entry.baseline_run_kwh is None:
            return None
        own = own * run / entry.baseline_run_kwh
        own = own if decimals is None else round(own, decimals)
    return reference / own if reference and own else None


def macs_per_ten_seconds(macs: float, seconds: float) -> float:
    """Multiply-accumulates of `seconds` of audio, for the ten seconds that the challenge compares."""
    return macs * MACS_SECONDS / seconds


def _energy_weighted(psds: PsdsPair, factor: float | None) -> PsdsPair:
    if factor is None:
        return PsdsPair(None, None)
    return PsdsPair(*(None if value is None else value * factor for value in (psds.psds1, psds.psds2)))


def _remarks(entry: Entry, edition: Edition, baseline: Entry | None, normaliser: PsdsPair | None) -> list[str]:
    remarks = []
    if normaliser is None:
        remarks.append(f"{edition.year} ranks against the baseline of the same set: name the baseline's submission")
    elif not (normaliser.psds1 and normaliser.psds2):
        remarks.append("the baseline has a PSDS of 0 or none, so nothing can be ranked against it")
    if entry.energy == Energy():
        return remarks
    if edition.energy is None and (baseline is None or baseline.energy == Energy()):
        remarks.append(f"energy-weighted scores of {edition.year} need the energies of the baseline of the same set")
    if edition.baseline_run is not None:
        if entry.baseline_run_kwh is None:
            remarks.append(
                f"energy-weighted scores of {edition.year} need the kWh of {edition.baseline_run}, "
                "measured on the hardware of this system"
            )
        if edition.baseline_run_kwh is None and baseline is not None and baseline.baseline_run_kwh is None:
            remarks.append(
                f"energy-weighted scores of {edition.year} need the kWh of {edition.baseline_run}, "
                "measured on the hardware of the baseline's entry"
            )
    return remarks
