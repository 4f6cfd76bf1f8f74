"""The leaderboard on the page: who stands where, how sure that is, and at what cost of energy, the best first.

What the figures of each system are stands in the table below it (`page_headlines`). Columns that nobody fills are left
out. A difference to the baseline is marked where 0 lies outside of its interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from desed_task.submission.leaderboard import (
    EN_DASH,
    Figure,
    PairedDifference,
    Standing,
    format_count,
    format_energy,
    format_number,
    sort_standings,
)
from desed_task.submission.page_markup import Html, element, joined
from desed_task.submission.page_plots import line_sample, system_style

_Cell = Callable[[Standing], str]


def leaderboard_table(standings: Sequence[Standing], names: Sequence[str]) -> Html:
    """One row per system, from the highest ranking score down; names: the systems in the order of their colours."""
    columns = [
        (title, meaning, cell) for title, meaning, cell in _COLUMNS if any(cell(s) != EN_DASH for s in standings)
    ]
    head = [element("th", "system", scope="col", role="columnheader")]
    head += [
        element("th", title, scope="col", title=meaning or None, role="columnheader") for title, meaning, _ in columns
    ]
    rows = []
    for place, standing in sort_standings(standings):
        k = names.index(standing.system)
        name = standing.system + (" (baseline)" if standing.is_baseline else "")
        cells = [element("td", cell(standing), data_label=title, role="cell") for title, _, cell in columns]
        rank = "" if place is None else f"{place}. "
        header = element("th", line_sample(k), rank + name, scope="row", role="rowheader")
        rows.append(element("tr", header, *cells, class_=system_style(k), role="row"))
    table = element(
        "table",
        element("thead", element("tr", *head, role="row"), role="rowgroup"),
        element("tbody", *rows, role="rowgroup"),
        class_="figures ranks",
        role="table",
    )
    wide = element("div", table, class_="wide", role="region", aria_label="Leaderboard", tabindex=0)
    return joined((wide, _legend(standings)))


def _legend(standings: Sequence[Standing]) -> Html:
    said = []
    if any(s.against_baseline for s in standings):
        said.append(
            "▲ ▼ above and below the baseline on the same samples of clips: 0 lies outside of the 95 % interval."
        )
    if any(s.num_runs > 1 for s in standings):
        said.append("±: standard deviation over runs.")
    if any(s.ranking_score.interval for s in standings):
        said.append("Small: 95 % intervals over clips; that of a ranking score holds the baseline's figures fixed.")
    return element("p", " ".join(said), class_="soft") if said else Html("")


def _figure(figure: Figure) -> str:
    if figure.value is None:
        return EN_DASH
    parts = [element("span", format_number(figure.value), class_="value")]
    if figure.interval is not None:
        parts.append(element("span", _interval(figure.interval), class_="spread", title="95 % interval"))
    if figure.std is not None:
        parts.append(element("span", f"± {format_number(figure.std)} over runs", class_="spread"))
    return joined(parts)


def _difference(name: str) -> _Cell:
    def cell(standing: Standing) -> str:
        paired = standing.against_baseline.get(name)
        return EN_DASH if paired is None else _paired(paired)

    return cell


def _paired(paired: PairedDifference) -> str:
    sign = "+" if paired.difference >= 0 else ""
    mark = (" ▲" if paired.difference > 0 else " ▼") if paired.is_significant else ""
    parts = [element("span", f"{sign}{format_number(paired.difference)}{mark}", class_="value")]
    said = [] if paired.interval is None else [_interval(paired.interval)]
    if paired.p_value is not None:
        said.append("p < 0.001" if paired.p_value < 0.001 else f"p = {paired.p_value:.3f}")
    return joined((*parts, *(element("span", text, class_="spread") for text in said)))


def _interval(ends: tuple[float, float]) -> str:
    return f"{format_number(ends[0])} to {format_number(ends[1])}"


def _weighted(training: bool) -> _Cell:
    """EW-PSDS of both scenarios, and the ranking score of the two."""

    def cell(s: Standing) -> str:
        if training:
            pair = s.energy_weighted_psds1_training, s.energy_weighted_psds2_training
            score = s.energy_weighted_score_training
        else:
            pair, score = (s.energy_weighted_psds1_test, s.energy_weighted_psds2_test), s.energy_weighted_score_test
        if pair == (None, None):
            return EN_DASH
        values = " / ".join(format_number(value) for value in pair)
        ranking = [] if score is None else [element("span", f"ranking {format_number(score)}", class_="spread")]
        return joined((values, *ranking))

    return cell


def _two(first: str, second: str) -> str:
    return EN_DASH if first == second == EN_DASH else f"{first} / {second}"


def _files(standing: Standing) -> str:
    complete = standing.files_present == standing.files_expected
    return EN_DASH if complete else f"{standing.files_present} of {standing.files_expected}"


_COLUMNS: tuple[tuple[str, str, _Cell], ...] = (
    ("ranking score", "mean of both PSDS over those of the baseline", lambda s: _figure(s.ranking_score)),
    ("PSDS1 less baseline", "sample by sample on the same clips", _difference("psds1")),
    ("PSDS2 less baseline", "sample by sample on the same clips", _difference("psds2")),
    ("collar F1 less baseline", "sample by sample on the same clips", _difference("collar_f1")),
    ("EW-PSDS 1 / 2, training", "weighted by the energy of the training", _weighted(training=True)),
    ("EW-PSDS 1 / 2, test", "weighted by the energy of the test", _weighted(training=False)),
    (
        "kWh training / test",
        "as reported",
        lambda s: _two(format_energy(s.energy_kwh_training), format_energy(s.energy_kwh_test)),
    ),
    (
        "MACs / parameters",
        "multiply-accumulates of 10 s of audio",
        lambda s: _two(format_count(s.macs_per_10_s), format_count(s.num_parameters)),
    ),
    ("files", "", _files),
)
