"""Leaderboard: several systems on the same clips, ordered by ranking score, as JSON and as a Markdown table.

Takes plain numbers, None where undefined, and never computes one: see `ranking` for the scores, `metrics` for the rest.
Fractions in [0, 1], energies in kWh, MACs per 10 s of audio. A system whose files are not all present keeps its place,
and the table says how many are missing. Systems with the same score share a rank; those without one have none, and
stand at the end. Undefined values are an en dash in the table and null in the JSON.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

EN_DASH = "–"
MINUS = "−"


@dataclass(frozen=True)
class Figure:
    """A value, its standard deviation over runs (n - 1) and its 95 % interval (lowest, highest)."""

    value: float | None
    std: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class PairedDifference:
    """A figure of the system less that of the baseline on the same clips: 95 % interval and two-sided p value."""

    difference: float
    interval: tuple[float, float] | None = None
    p_value: float | None = None

    @property
    def is_significant(self) -> bool:
        """Zero lies outside of the interval or, where there is none, p < .05."""
        if self.interval is not None:
            return not self.interval[0] <= 0.0 <= self.interval[1]
        return self.p_value is not None and self.p_value < 0.05


_UNDEFINED = Figure(None)


@dataclass(frozen=True)
class Standing:
    """One system. against_baseline: figure (psds1, psds2, collar_f1, ...) -> difference; empty for the baseline."""

    system: str
    files_present: int
    files_expected: int
    ranking_score: Figure = _UNDEFINED
    psds1: Figure = _UNDEFINED
    psds2: Figure = _UNDEFINED
    collar_f1: Figure = _UNDEFINED
    num_runs: int = 1
    is_baseline: bool = False
    energy_weighted_psds1_training: float | None = None
    energy_weighted_psds2_training: float | None = None
    energy_weighted_score_training: float | None = None
    energy_weighted_psds1_test: float | None = None
    energy_weighted_psds2_test: float | None = None
    energy_weighted_score_test: float | None = None
    energy_kwh_training: float | None = None
    energy_kwh_test: float | None = None
    macs_per_10_s: float | None = None
    num_parameters: int | None = None
    against_baseline: Mapping[str, PairedDifference] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def sort_standings(standings: Sequence[Standing]) -> list[tuple[int | None, Standing]]:
    """(rank, standing) from the highest ranking score down; equal scores keep their order and share a rank."""
    ordered = sorted(standings, key=lambda standing: -_score(standing))
    better = [sum(_score(other) > _score(standing) for other in ordered) for standing in ordered]
    return [(None if _score(s) == -math.inf else 1 + n, s) for n, s in zip(better, ordered, strict=True)]


def leaderboard_json(standings: Sequence[Standing]) -> list[dict[str, Any]]:
    """What `leaderboard.json` holds: one flat mapping per system, in order, with its rank."""
    return [{"rank": place, **_plain(asdict(standing))} for place, standing in sort_standings(standings)]


def format_leaderboard(standings: Sequence[Standing]) -> str:
    """Markdown: one row per system, below it how to read it and the remarks; columns that nobody fills are left out."""
    ranked = sort_standings(standings)
    columns = [column for column in _COLUMNS if any(column[1](s) != EN_DASH for s in standings)]
    rows = [("rank", "system", *(title for title, _ in columns), "files")]
    for place, standing in ranked:
        cells = (cell(standing) for _, cell in columns)
        name = _escaped(standing.system) + (" (baseline)" if standing.is_baseline else "")
        rows.append((EN_DASH if place is None else str(place), name, *cells, _files(standing)))
    return _markdown(rows) + "".join(f"\n{note}\n" for note in _notes([standing for _, standing in ranked]))


def shared_by_all(remarks: Sequence[Sequence[str]]) -> list[str]:
    """The sentences that are said of every one of several systems, and so need be said once only."""
    if len(remarks) < 2:
        return []
    return [remark for remark in dict.fromkeys(remarks[0]) if all(remark in others for others in remarks[1:])]


def format_figure(figure: Figure, decimals: int = 3) -> str:
    """`0.352 ± 0.004 [0.340, 0.361]`, without what is undefined."""
    text = format_number(figure.value, decimals)
    if figure.std is not None:
        text += f" ± {format_number(figure.std, decimals)}"
    if figure.interval is not None:
        text += f" [{', '.join(format_number(end, decimals) for end in figure.interval)}]"
    return text


def format_number(value: float | None, decimals: int = 3) -> str:
    """Rounded to `decimals`, with a true minus sign; an en dash where undefined or not a number."""
    if value is None or math.isnan(value):
        return EN_DASH
    return f"{value:.{decimals}f}".replace("-", MINUS)


def format_count(value: float | None) -> str:
    """A large count with three digits and its unit: 930902000 -> 931 M."""
    if value is None:
        return EN_DASH
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if float(f"{value:.3g}") >= size:
            return f"{float(f'{value:.3g}') / size:g} {unit}"
    return f"{value:.3g}"


def format_energy(kwh: float | None) -> str:
    """Three significant digits, never in powers of ten."""
    if kwh is None:
        return EN_DASH
    digits = 2 - math.floor(math.log10(kwh)) if kwh > 0 else 0
    return f"{kwh:.{max(digits, 0)}f}" if digits <= 6 else f"{kwh:.1e}"


def _score(standing: Standing) -> float:
    value = standing.ranking_score.value
    return -math.inf if value is None or math.isnan(value) else value


def _difference(name: str) -> Callable[[Standing], str]:
    def cell(standing: Standing) -> str:
        paired = standing.against_baseline.get(name)
        if paired is None:
            return EN_DASH
        sign = "+" if paired.difference >= 0 else ""
        text = sign + format_number(paired.difference)
        if paired.interval is not None:
            text += f" [{', '.join(format_number(end) for end in paired.interval)}]"
        if paired.p_value is not None:
            text += " (p < 0.001)" if paired.p_value < 0.001 else f" (p = {paired.p_value:.3f})"
        return text + (" *" if paired.is_significant else "")

    return cell


_COLUMNS: tuple[tuple[str, Callable[[Standing], str]], ...] = (
    ("ranking score", lambda s: format_figure(s.ranking_score)),
    ("PSDS1", lambda s: format_figure(s.psds1)),
    ("PSDS2", lambda s: format_figure(s.psds2)),
    ("collar F1", lambda s: format_figure(s.collar_f1)),
    ("PSDS1 vs baseline", _difference("psds1")),
    ("PSDS2 vs baseline", _difference("psds2")),
    ("collar F1 vs baseline", _difference("collar_f1")),
    ("EW-PSDS1 training", lambda s: format_number(s.energy_weighted_psds1_training)),
    ("EW-PSDS2 training", lambda s: format_number(s.energy_weighted_psds2_training)),
    ("EW-PSDS1 test", lambda s: format_number(s.energy_weighted_psds1_test)),
    ("EW-PSDS2 test", lambda s: format_number(s.energy_weighted_psds2_test)),
    ("EW score training", lambda s: format_number(s.energy_weighted_score_training)),
    ("EW score test", lambda s: format_number(s.energy_weighted_score_test)),
    ("kWh training", lambda s: format_energy(s.energy_kwh_training)),
    ("kWh test", lambda s: format_energy(s.energy_kwh_test)),
    ("MACs / 10 s", lambda s: format_count(s.macs_per_10_s)),
    ("parameters", lambda s: format_count(s.num_parameters)),
)


def _files(standing: Standing) -> str:
    complete = standing.files_present == standing.files_expected
    return f"{standing.files_present}/{standing.files_expected}{'' if complete else ' incomplete'}"


def _notes(standings: Sequence[Standing]) -> list[str]:
    every = [figure for s in standings for figure in (s.ranking_score, s.psds1, s.psds2, s.collar_f1)]
    paired = [difference for s in standings for difference in s.against_baseline.values()]
    notes = []
    if any(figure.std is not None for figure in every):
        notes.append("±: standard deviation over runs.")
    if any(interval is not None for interval in (*(f.interval for f in every), *(d.interval for d in paired))):
        notes.append("[ ]: 95 % interval.")
    if any(_lies_beside(figure) for figure in every):
        notes.append(
            "An interval may lie below its value: clips that are drawn twice leave fewer different ones, which spreads "
            "the classes, and PSDS is less their spread."
        )
    if any(difference.is_significant for difference in paired):
        notes.append("\\*: differs from the baseline (0 lies outside of the interval, or p < 0.05).")
    incomplete = [s for s in standings if s.files_present != s.files_expected]
    notes += [
        f"{_escaped(s.system)}: {s.files_present} of {s.files_expected} files present: not comparable with the others"
        for s in incomplete
    ]
    shared = shared_by_all([s.remarks for s in standings])
    own = [
        f"{_escaped(s.system)}: {_escaped(remark)}" for s in standings for remark in s.remarks if remark not in shared
    ]
    return [*notes, *(_escaped(remark) for remark in shared), *own]


def _lies_beside(figure: Figure) -> bool:
    """Whether the value is outside of its own interval."""
    if figure.value is None or figure.interval is None:
        return False
    return not figure.interval[0] <= figure.value <= figure.interval[1]


def _plain(value: Any) -> Any:
    """For JSON: tuples as lists, not-a-number as null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _escaped(text: str) -> str:
    """Names come from files: no cell ends early, no line breaks, no HTML."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"
