"""The page: what it shows, what it must never do, and that it is HTML."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from desed_task.metrics.psds import Psds, RocCurve
from desed_task.submission.leaderboard import Figure
from desed_task.submission.page import MAX_CLASS_PANELS, render_page, write_page
from desed_task.submission.page_markup import Html, element
from desed_task.submission.page_style import STYLE
from desed_task.submission.page_timelines import MAX_EVENTS, axis_ticks, timeline_figure
from desed_task.submission.page_views import (
    ClassFigures,
    Headline,
    MarkedEvent,
    OperatingCurve,
    OperatingPoint,
    Page,
    SystemView,
    Timeline,
    worst_clips,
)

VOID = {"meta", "br", "wbr", "hr"}


class Balance(HTMLParser):
    """Every element that opens closes, in order; collects what attributes say."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)


def parsed(page: Page) -> Balance:
    balance = Balance()
    balance.feed(render_page(page))
    balance.close()
    assert balance.open == []
    return balance


def staircase(seed: int) -> RocCurve:
    rng = np.random.default_rng(seed)
    return RocCurve(np.sort(rng.random(200)) * 100, np.sort(rng.random(200)), np.linspace(1, 0, 200))


def score(value: float, labels: tuple[str, ...]) -> Psds:
    areas = {label: value / (k + 1) for k, label in enumerate(labels)}
    return Psds(value, areas, staircase(0), {label: staircase(k) for k, label in enumerate(labels)})


def system(name: str = "ours", labels: tuple[str, ...] = ("Dog", "Speech")) -> SystemView:
    thresholds = np.linspace(0.02, 1.0, 50)
    precision, recall = thresholds, 1 - thresholds
    return SystemView(
        name,
        headlines=(
            Headline("PSDS1", Figure(0.33446856, 0.00412, (0.32149, 0.34751)), meaning="dtc .7"),
            Headline("energy", Figure(1.7171), decimals=2, unit="kWh"),
            Headline("collar F1", Figure(None)),
        ),
        psds1=score(0.33446856, labels),
        psds2=score(0.52810003, labels),
        per_class={label: ClassFigures(0.1234, 0.5678, None, 412) for label in labels},
        operating_curve=OperatingCurve(
            "collar, micro",
            thresholds,
            precision,
            recall,
            2 * precision * recall / (precision + recall),
            OperatingPoint(0.37, 0.4, 0.5, 0.444),
            OperatingPoint(0.5, 0.4, 0.4, 0.4),
        ),
        operating_point="threshold 0.5",
        timelines=(
            Timeline(
                "Yclip_0.000_10.000",
                10.0,
                (MarkedEvent(0.5, 2.25, labels[0], "found"), MarkedEvent(4.0, 5.0, labels[1], "missed")),
                (MarkedEvent(0.6, 2.2, labels[0], "found"), MarkedEvent(7.125, 9.0, labels[0], "false")),
            ),
        ),
        files_present=1168,
        files_expected=1168,
    )


def page(*systems: SystemView, **others: object) -> Page:
    return Page("Evaluation", systems or (system(),), rules={"ct_mean": "n-1"}, **others)  # type: ignore[arg-type]


PAGES = {
    "one system": page(),
    "several systems": page(*(system(f"system {k}") for k in range(8))),
    "nothing but a name": page(SystemView("tagging only")),
    "no system": Page("Empty", ()),
}


@pytest.mark.parametrize("shown", PAGES.values(), ids=PAGES)
def test_the_page_is_balanced_html(shown: Page) -> None:
    found = parsed(shown)
    assert render_page(shown).startswith("<!DOCTYPE html>\n<html")
    assert found.tags.count("title") >= 1
    assert ("lang", "en") in found.attributes


@pytest.mark.parametrize("shown", PAGES.values(), ids=PAGES)
def test_nothing_is_loaded_from_elsewhere(shown: Page) -> None:
    found = parsed(shown)
    assert not {"link", "img", "iframe", "object", "embed", "base", "form", "a"} & set(found.tags)
    assert not {"src", "href", "xlink:href", "action", "srcset", "data"} & {name for name, _ in found.attributes}
    text = render_page(shown)
    assert set(re.findall(r"url\(([^)]*)\)", text)) == {"#hatch"}
    assert "@import" not in text
    assert "http:" not in text
    assert "https:" not in text
    policy = [value for name, value in found.attributes if name == "content" and value and "default-src" in value]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"]


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a & b", "</style>"])
def test_names_from_files_are_text(evil: str) -> None:
    shown = system(evil, (evil, "Dog"))
    clip = dataclasses.replace(shown.timelines[0], audio_id=evil)
    shown = dataclasses.replace(shown, timelines=(clip,), warnings=(evil,), operating_point=evil)
    for systems in ((shown,), (shown, shown)):
        found = parsed(Page(evil, systems, evil, {evil: evil}, (evil,)))
        assert found.tags.count("script") == 1
        assert "img" not in found.tags
        assert not any(name.startswith("on") for name, _ in found.attributes)
        assert "".join(found.text).count(evil) >= 8


def test_every_figure_is_the_input_rounded() -> None:
    text = "|".join(parsed(page()).text)
    for shown in ("0.334", "0.321 to 0.348", "± 0.004 over runs", "1.72", "kWh", "0.528", "0.123", "0.568", "412"):
        assert shown in text
    assert "best 0.370: F1 0.444" in text
    assert "given 0.500: F1 0.400" in text
    assert "10.00 s: 1 found, 1 missed, 1 false alarm" in text
    assert "Dog, detected 7.12 to 9.00 s, false alarm" in text


def test_undefined_figures_are_an_en_dash() -> None:
    figures = SystemView("none", (Headline("PSDS1", Figure(None)),), per_class={"Dog": ClassFigures()})
    text = "|".join(parsed(page(figures)).text)
    assert text.count("–") == 5  # the headline, the number of events, and three figures of the class
    assert "None" not in text
    assert "nan" not in text


def test_a_system_without_psds_stands_beside_one_with() -> None:
    text = "|".join(parsed(page(system(), SystemView("tagging only"))).text)
    assert "Scenario 1" in text
    assert "tagging only" in text


def test_what_is_not_there_has_no_heading() -> None:
    text = "|".join(parsed(page(SystemView("tagging only"))).text)
    for heading in ("Scenario", "Classes", "Operating curve", "Clips with"):
        assert heading not in text


def test_missing_files_are_warned_of_before_everything_else() -> None:
    partial = dataclasses.replace(system(), files_present=1100)
    text = "|".join(parsed(page(partial, warnings=("two runs of three",))).text)
    assert text.index("two runs of three") < text.index("1100 of 1168 files present") < text.index("0.334")
    assert "files present" not in "|".join(parsed(page()).text)


def test_with_several_systems_warnings_name_theirs() -> None:
    partial = dataclasses.replace(system("short"), files_present=1100)
    text = "|".join(parsed(page(system(), partial)).text)
    assert "short: 1100 of 1168 files present" in text


def test_many_classes_have_panels_for_the_worst_and_rows_for_all() -> None:
    labels = tuple(f"class {k:03}" for k in range(447))
    shown = render_page(page(system(labels=labels)))
    assert f"Of 447 classes the {MAX_CLASS_PANELS} with the lowest PSDS1 are shown" in shown
    assert shown.count('role="rowheader"') == 447
    assert len(shown) < 1_000_000


def test_exact_curves_of_many_points_stay_below_a_megabyte() -> None:
    rng = np.random.default_rng(1)
    many = RocCurve(np.sort(rng.random(100_000)) * 100, np.sort(rng.random(100_000)))
    labels = tuple(f"class {k}" for k in range(10))
    exact = Psds(0.5, dict.fromkeys(labels, 0.5), many, dict.fromkeys(labels, many))
    systems = [dataclasses.replace(system(f"system {k}", labels), psds1=exact, psds2=exact) for k in range(4)]
    assert len(render_page(page(*systems))) < 1_000_000


def test_a_clip_of_very_many_events_is_drawn_in_part_and_says_so() -> None:
    events = tuple(MarkedEvent(k, k + 0.5, "Dog", "missed") for k in range(MAX_EVENTS + 100))
    figure = timeline_figure(Timeline("hour", 3600.0, events, ()))
    assert figure.count("<rect") == MAX_EVENTS
    assert f"{MAX_EVENTS + 100} missed, 0 false alarms; the first {MAX_EVENTS}.00 s are drawn" in figure


def test_events_lie_where_they_are_on_the_axis() -> None:
    figure = timeline_figure(system().timelines[0])
    boxes = re.findall(r'<rect x="([\d.]+)%" width="([\d.]+)%" y="(\d+)"[^>]*class="(\w+)"', figure)
    assert boxes == [
        ("5", "17.5", "3", "found"),
        ("6", "16", "18", "found"),
        ("71.25", "18.75", "18", "false"),
        ("40", "10", "3", "missed"),
    ]


def test_a_clip_without_events_or_length_can_be_drawn() -> None:
    assert "0 found, 0 missed, 0 false alarms" in timeline_figure(Timeline("silence", 10.0, (), ()))
    assert "empty" in timeline_figure(Timeline("empty", 0.0, (), ()))


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [
        (10.0, [0, 2, 4, 6, 8, 10]),
        (9.3, [0, 2, 4, 6, 8]),
        (1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (3600.0, [0, 1000, 2000, 3000]),
        (0.0, [0]),
    ],
)
def test_ticks_are_round(seconds: float, ticks: list[float]) -> None:
    assert axis_ticks(seconds) == ticks


def test_the_worst_clips_have_the_most_errors() -> None:
    #         a  b  c  d  e      errors 2, 0, 5, 2, 5
    missed = np.array([1, 0, 2, 2, 3])
    false = np.array([1, 0, 3, 0, 2])
    assert worst_clips(list("abcde"), missed, false) == ("e", "c", "d", "a")
    assert worst_clips(list("abcde"), missed, false, limit=2) == ("e", "c")


def test_markup_escapes_all_but_markup() -> None:
    assert element("b", "<i>", Html("<i></i>"), title='"x"') == '<b title="&quot;x&quot;">&lt;i&gt;<i></i></b>'
    assert element("meta", http_equiv="a", hidden=True, class_=None) == '<meta http-equiv="a" hidden>'


def luminance(colour: str) -> float:
    digits = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_contrast_with_the_page_in_light_dark_and_print() -> None:
    schemes = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    assert len(schemes) == 3
    for scheme in schemes:
        colours = dict(re.findall(r"--([\w-]+): (#\w+)", scheme))
        pairs = [(name, "paper") for name in ("ink", "soft", "found", "missed", "false", *(f"s{k}" for k in range(6)))]
        for name, ground in [*pairs, ("warn", "warn-paper")]:
            low, high = sorted((luminance(colours[name]), luminance(colours[ground])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, colours[name])


def test_the_file_is_complete_or_not_there(tmp_path: Path) -> None:
    write_page(page(), tmp_path / "reports" / "page.html")
    written = sorted(path.name for path in (tmp_path / "reports").iterdir())
    assert written == ["page.html"]
    assert (tmp_path / "reports" / "page.html").read_text(encoding="utf-8") == render_page(page())


@pytest.mark.slow
def test_a_browser_opens_it_without_complaint(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium or Chrome on the path")
    write_page(PAGES["several systems"], tmp_path / "page.html")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--dump-dom"]
    command = [browser, *flags, f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "page.html").as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in ran.stderr, [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    # The script ran: the first system's timelines are shown and the others are not.
    assert re.search(r'<button[^>]*value="0"[^>]*aria-pressed="true"', ran.stdout)
    assert len(re.findall(r'<div data-system="\d" hidden', ran.stdout)) == 7
