"""Headline figures of the page: tiles for one system, a table for several; each with its interval and its spread."""

from __future__ import annotations

from collections.abc import Sequence

from desed_task.submission.leaderboard import Figure, format_number
from desed_task.submission.page_markup import Html, element, joined
from desed_task.submission.page_plots import line_sample, system_style
from desed_task.submission.page_views import Headline, SystemView


def headline_tiles(system: SystemView) -> Html:
    """The figures of the only system, in large type."""
    tiles = [
        element("div", element("dt", headline.name, title=headline.meaning or None), element("dd", _figure(headline)))
        for headline in system.headlines
    ]
    return joined((element("h3", system.name), element("dl", *tiles, class_="tiles s0")))


def headline_table(systems: Sequence[SystemView]) -> Html:
    """One row per system and one column per figure that any of them has."""
    by_name = [{headline.name: headline for headline in system.headlines} for system in systems]
    names = {name: headline.meaning for headlines in by_name for name, headline in headlines.items()}
    head = [element("th", "system", scope="col", role="columnheader")]
    head += [
        element("th", name, scope="col", title=meaning or None, role="columnheader") for name, meaning in names.items()
    ]
    rows = []
    for k, (system, headlines) in enumerate(zip(systems, by_name, strict=True)):
        cells = (
            element("td", _figure(headlines.get(name, Headline(name, Figure(None)))), data_label=name, role="cell")
            for name in names
        )
        rows.append(
            element(
                "tr",
                element("th", line_sample(k), system.name, scope="row", role="rowheader"),
                *cells,
                class_=system_style(k),
                role="row",
            )
        )
    table = element(
        "table",
        element("thead", element("tr", *head, role="row"), role="rowgroup"),
        element("tbody", *rows, role="rowgroup"),
        class_="figures",
        role="table",
    )
    return element("div", table, class_="wide", role="region", aria_label="Figures of all systems", tabindex=0)


def _figure(headline: Headline) -> Html:
    figure, decimals = headline.figure, headline.decimals
    value = [format_number(figure.value, decimals)]
    if headline.unit and figure.value is not None:
        value.append(element("span", headline.unit, class_="unit"))
    parts = [element("span", *value, class_="value")]
    if figure.interval is not None and figure.value is not None:
        lowest, highest = figure.interval
        if 0.0 <= lowest <= highest <= 1.0 and 0.0 <= figure.value <= 1.0:
            parts.append(_whisker(figure.value, lowest, highest))
        ends = f"{format_number(lowest, decimals)} to {format_number(highest, decimals)}"
        parts.append(element("span", ends, class_="spread", title="95 % interval"))
    if figure.std is not None:
        spread = f"± {format_number(figure.std, decimals)} over runs"
        parts.append(element("span", spread, class_="spread", title="standard deviation over runs"))
    return joined(parts)


def _whisker(value: float, lowest: float, highest: float) -> Html:
    """The interval on a line from 0 to 1."""
    at = [f"{100 * x:.2f}%" for x in (value, lowest, highest)]
    return element(
        "svg",
        element("line", x1="0", x2="100%", y1=5.5, y2=5.5),
        element("line", x1=at[1], x2=at[2], y1=5.5, y2=5.5, class_="range"),
        element("circle", cx=at[0], cy=5.5, r=2.75),
        class_="whisker",
        aria_hidden="true",
    )
