"""The page of an evaluation: one self-contained HTML file that shows one or several systems.

The leaderboard of several systems comes first, then warnings, the figures with their intervals and the rules behind
them, the PSD-ROC curves of both scenarios, the classes, the operating curve, and timelines of the worst clips. What it
shows is a `Page` of `SystemView`s (see `page_views`); everything but the drawing is computed elsewhere. The file asks
for nothing from elsewhere, which its content security policy also enforces, and can be read without its script. Curves
are thinned to what can be seen (see `page_plots`), so that a page of a few systems stays below 1 MB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from desed_task.metrics.psds import Psds
from desed_task.submission.leaderboard import EN_DASH, format_number
from desed_task.submission.page_headlines import headline_table, headline_tiles
from desed_task.submission.page_leaderboard import leaderboard_table
from desed_task.submission.page_markup import Html, breakable, element, joined
from desed_task.submission.page_plots import SMALL, Line, line_sample, operating_plot, roc_plot, system_style
from desed_task.submission.page_style import SCRIPT, STYLE
from desed_task.submission.page_timelines import legend, timeline_figure
from desed_task.submission.page_views import Page, SystemView

# More panels than this would be a page of their own; those with the lowest scores are shown.
MAX_CLASS_PANELS = 30

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_HATCH = Html(
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs><pattern id="hatch" width="5" '
    'height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M1 0V5"/></pattern></defs></svg>'
)
_SCENARIOS = (
    ("psds1", "Scenario 1: are the times right?", "PSDS1"),
    ("psds2", "Scenario 2: are the classes right?", "PSDS2"),
)


def write_page(page: Page, path: Path) -> None:
    """Write the page as UTF-8; never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(render_page(page), encoding="utf-8")
    partial.replace(path)


def render_page(page: Page) -> str:
    """The whole file as text."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", page.title),
        element("style", Html(STYLE)),
    )
    sections = (
        *(_roc_section(page, k) for k in range(len(_SCENARIOS))),
        _class_section(page.systems),
        _operating_section(page.systems),
        _timeline_section(page.systems),
    )
    body = element("body", _HATCH, element("main", _top(page), *sections), element("script", Html(SCRIPT)))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _top(page: Page) -> Html:
    warnings = [*page.warnings, *(w for system in page.systems for w in _warnings(system, len(page.systems) > 1))]
    parts = [element("h1", page.title)]
    if page.subtitle:
        parts.append(element("p", page.subtitle, class_="soft"))
    if page.standings:
        parts.append(leaderboard_table(page.standings, [system.name for system in page.systems]))
    if warnings:
        items = (element("li", warning) for warning in warnings)
        parts.append(element("ul", *items, class_="warnings", role="note", aria_label="Warnings"))
    several = len(page.systems) > 1
    parts.append(headline_table(page.systems) if several else joined(headline_tiles(system) for system in page.systems))
    if page.rules:
        rows = (element("div", element("dt", name), element("dd", value)) for name, value in page.rules.items())
        parts.append(element("dl", *rows, class_="rules", aria_label="Rules"))
    return element("header", *parts)


def _warnings(system: SystemView, named: bool) -> list[str]:
    warnings = list(system.warnings)
    if system.files_expected is not None and system.files_present != system.files_expected:
        present = EN_DASH if system.files_present is None else system.files_present
        warnings.insert(
            0, f"{present} of {system.files_expected} files present: not comparable with figures of the whole set"
        )
    return [f"{system.name}: {warning}" for warning in warnings] if named else warnings


def _roc_section(page: Page, scenario: int) -> Html:
    field, title, name = _SCENARIOS[scenario]
    found: list[Psds | None] = [getattr(system, field) for system in page.systems]
    drawn = [(k, score) for k, score in enumerate(found) if score is not None and score.curve is not None]
    if not drawn:
        return Html("")
    max_rate, several = page.max_efpr[scenario], len(page.systems) > 1
    overall = []
    labels, num_labels = _labels_shown([score for _, score in drawn])
    if not several:
        curves = drawn[0][1].class_curves or {}
        overall += [Line(curves[label], "faint s0", label) for label in labels]
    overall += [
        Line(score.curve, f"dash {system_style(k)}", f"{page.systems[k].name}: {name} {format_number(score.value)}")
        for k, score in drawn
        if score.curve is not None
    ]
    captions = [
        element(
            "span",
            line_sample(k),
            element("b", format_number(score.value)),
            page.systems[k].name,
            class_=system_style(k),
        )
        for k, score in drawn
    ]
    said = ", ".join(f"{page.systems[k].name} {format_number(score.value)}" for k, score in drawn)
    picture = roc_plot(overall, max_rate, f"PSD-ROC curves, {name}: {said}", area=not several)
    caption = (
        joined(captions) if several else element("span", name, " ", element("b", format_number(drawn[0][1].value)))
    )
    text = (
        "Share of events found, less its spread over the classes, as false alarms are allowed; "
        f"{name} is the area below, as a fraction."
    )
    text += "" if several else " Thin lines: single classes."
    if len(labels) < num_labels:
        text += f" Of {num_labels} classes the {len(labels)} with the lowest {name} are shown."
    return element(
        "section",
        element("h2", title),
        element("p", text, class_="soft"),
        element(
            "div",
            element("figure", element("figcaption", caption), picture),
            _class_panels(drawn, labels, max_rate, name),
            class_="scenario",
        ),
    )


def _labels_shown(scores: Sequence[Psds]) -> tuple[list[str], int]:
    """The classes that are drawn, the worst of the first system if there are too many, and how many there are."""
    labels = list(dict.fromkeys(label for score in scores for label in score.class_curves or {}))
    if len(labels) <= MAX_CLASS_PANELS:
        return labels, len(labels)
    return sorted(labels, key=lambda label: scores[0].per_class.get(label, 0.0))[:MAX_CLASS_PANELS], len(labels)


def _class_panels(drawn: Sequence[tuple[int, Psds]], labels: Sequence[str], max_rate: float, name: str) -> Html:
    """One small picture per class, all systems in each."""
    panels = []
    for label in labels:
        lines, values = [], []
        for k, score in drawn:
            curve = (score.class_curves or {}).get(label)
            value = format_number(score.per_class.get(label))
            values.append(element("i", value, class_=system_style(k)))
            if curve is not None:
                lines.append(Line(curve, f"dash {system_style(k)}", f"{label}: {value}"))
        spoken = f"{label}, {name} of the class: {', '.join(format_number(s.per_class.get(label)) for _, s in drawn)}"
        caption = element("figcaption", element("b", breakable(label)), element("span", Html("<br>".join(values))))
        panels.append(element("figure", caption, roc_plot(lines, max_rate, spoken, SMALL, area=len(drawn) == 1)))
    return element("div", *panels, class_="panels")


def _class_section(systems: Sequence[SystemView]) -> Html:
    labels = list(dict.fromkeys(label for system in systems for label in system.per_class))
    if not labels:
        return Html("")
    head = [("class", "first"), ("events", "count"), ("PSDS1", None), ("PSDS2", None), ("collar F1", None)]
    rows = []
    for label in labels:
        of_class = [system.per_class.get(label) for system in systems]
        count = next((str(c.num_events) for c in of_class if c is not None and c.num_events is not None), EN_DASH)
        cells = [
            joined(_bar(getattr(c, field, None), k, systems[k].name) for k, c in enumerate(of_class))
            for field in ("psds1", "psds2", "collar_f1")
        ]
        row = (
            element("th", breakable(label), scope="row", role="rowheader"),
            element("td", count, class_="count", role="cell"),
        )
        rows.append(element("tr", *row, *(element("td", cell, role="cell") for cell in cells), role="row"))
    titles = (element("th", text, scope="col", class_=class_, role="columnheader") for text, class_ in head)
    table = element(
        "table",
        element("thead", element("tr", *titles, role="row"), role="rowgroup"),
        element("tbody", *rows, role="rowgroup"),
        class_="bars",
        role="table",
    )
    return element("section", element("h2", "Classes"), _keys(systems), table)


def _bar(value: float | None, k: int, system: str) -> Html:
    length = 0.0 if value is None or math.isnan(value) else min(max(value, 0.0), 1.0)
    return element(
        "div", format_number(value), class_=f"bar {system_style(k)}", style=f"--v:{length:.4g}", title=system
    )


def _operating_section(systems: Sequence[SystemView]) -> Html:
    figures = []
    for k, system in enumerate(systems):
        if system.operating_curve is not None:
            caption = element("figcaption", element("b", system.name), system.operating_curve.criterion)
            spoken = f"{system.name}: precision, recall and F1 over the threshold"
            figures.append(element("figure", caption, operating_plot(system.operating_curve, system_style(k), spoken)))
    if not figures:
        return Html("")
    names = (("f1", "F1"), ("precision", "precision"), ("recall", "recall"))
    samples = (element("span", line_sample(0, f"curve {line}"), name) for line, name in names)
    return element(
        "section",
        element("h2", "Operating curve"),
        element("p", *samples, class_="legend s0"),
        element("div", *figures, class_="curves"),
    )


def _timeline_section(systems: Sequence[SystemView]) -> Html:
    shown = [(k, system) for k, system in enumerate(systems) if system.timelines]
    if not shown:
        return Html("")
    panels = []
    for k, system in shown:
        name = (element("h3", line_sample(k), system.name, class_=system_style(k)),) if len(systems) > 1 else ()
        point = (element("p", f"At {system.operating_point}.", class_="soft"),) if system.operating_point else ()
        clips = element("div", *(timeline_figure(clip) for clip in system.timelines), class_="clips")
        panels.append(element("div", *name, *point, clips, data_system=str(k)))
    buttons = (
        element("button", system.name, type="button", value=str(k), aria_pressed="false", class_=system_style(k))
        for k, system in shown
    )
    bar = element("div", *buttons, class_="switch", role="group", aria_label="System", hidden=True)
    parts = (element("h2", "Clips with the most errors"), legend(), *((bar,) if len(shown) > 1 else ()))
    return element("section", *parts, *panels)


def _keys(systems: Sequence[SystemView]) -> Html:
    """Which colour is which system; nothing for a single one."""
    if len(systems) < 2:
        return Html("")
    names = (element("span", line_sample(k), system.name, class_=system_style(k)) for k, system in enumerate(systems))
    return element("p", *names, class_="legend")
