"""Plots of the page as inline SVG: PSD-ROC staircases and the operating curve.

Exact curves have a step for every distinct score. They are thinned before they are drawn: of all points in one column
of pixels the first, the last, the lowest and the highest stay, so the picture is the same, and the area
differs by less than a column times the rise of the curve.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.psds import RocCurve
from desed_task.submission.leaderboard import format_number
from desed_task.submission.page_markup import Html, element, joined
from desed_task.submission.page_style import NUM_SYSTEM_STYLES
from desed_task.submission.page_views import OperatingCurve, OperatingPoint

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """A plot area inside its picture, in pixels of the picture; y grows downward."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int

    @property
    def inner(self) -> tuple[int, int]:
        """Width and height of the plot area."""
        return self.width - self.left - self.right, self.height - self.top - self.bottom

    def x(self, fraction: float) -> float:
        """From the left edge (0) to the right edge (1)."""
        return round(self.left + fraction * self.inner[0], 1)

    def y(self, fraction: float) -> float:
        """From the bottom (0) to the top (1)."""
        return round(self.top + (1.0 - fraction) * self.inner[1], 1)


LARGE = Frame(480, 344, left=38, right=12, top=28, bottom=44)
SMALL = Frame(180, 110, left=2, right=2, top=4, bottom=4)
# Room for the two labels of the operating points above the plot, each this share of its width.
_MARKED = Frame(480, 360, left=38, right=12, top=44, bottom=44)
_LABEL_SHARE = 0.38


@dataclass(frozen=True, eq=False)
class Line:
    """One staircase with its CSS classes and its tooltip."""

    curve: RocCurve
    classes: str
    tooltip: str


def roc_plot(
    lines: Sequence[Line], max_rate: float, description: str, frame: Frame = LARGE, area: bool = False
) -> Html:
    """Ratio over effective false alarms per hour, up to max_rate; area: fill below the last line."""
    parts = [_axes(frame, [round(max_rate * k / 5, 6) for k in range(6)], "effective false alarms per hour")]
    if frame is LARGE:
        parts.append(_tick("share of events found", 0.0, 12.0, "start"))
    for line in lines:
        path = staircase_path(line.curve, max_rate, frame)
        if area and line is lines[-1]:
            closed = f"{path}V{frame.y(0.0):g}H{frame.x(0.0):g}Z"
            parts.append(element("path", d=closed, class_=f"area {line.classes}"))
        parts.append(element("path", element("title", line.tooltip), d=path, class_=f"curve {line.classes}"))
    return _picture(parts, frame, description)


def staircase_path(curve: RocCurve, max_rate: float, frame: Frame) -> str:
    """The `d` of a staircase from rate 0 to max_rate; 0 before its first point."""
    within = curve.rates <= max_rate
    rates, ratios = thin_staircase(curve.rates[within] / max_rate, curve.ratios[within], frame.inner[0])
    started = bool(len(rates)) and rates[0] == 0.0
    corners = [(frame.x(rate), frame.y(ratio)) for rate, ratio in zip(rates.tolist(), ratios.tolist(), strict=True)]
    path = [f"M{frame.x(0.0):g} {corners[0][1] if started else frame.y(0.0):g}"]
    x, y = frame.x(0.0), corners[0][1] if started else frame.y(0.0)
    for next_x, next_y in corners:
        if next_y == y:
            continue
        if next_x != x:
            path.append(f"H{next_x:g}")
        path.append(f"V{next_y:g}")
        x, y = next_x, next_y
    return "".join([*path, f"H{frame.x(1.0):g}"])


def thin_staircase(x: Array, y: Array, num_columns: int) -> tuple[Array, Array]:
    """Points of a curve, x ascending in [0, 1], of which at most four are kept in each of the columns: its first, last,
    lowest and highest. Not-a-number in y counts as the lowest."""
    if len(x) <= num_columns:
        return x, y
    column = np.minimum((x * num_columns).astype(np.int64), num_columns - 1)
    first = np.flatnonzero(np.diff(column, prepend=-1))
    last = np.append(first[1:], len(x)) - 1
    by_height = np.lexsort((np.nan_to_num(y, nan=-np.inf), column))
    kept = np.unique(np.concatenate((first, last, by_height[first], by_height[last])))
    return x[kept], y[kept]


def operating_plot(curve: OperatingCurve, classes: str, description: str) -> Html:
    """Precision, recall and F1 over the threshold, with the best and the given point marked."""
    frame = _MARKED
    parts = [_axes(frame, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], "threshold")]
    for name, values in (("precision", curve.precision), ("recall", curve.recall), ("f1", curve.f1)):
        path = threshold_path(curve.thresholds, values, frame)
        title = element("title", "F1" if name == "f1" else name)
        parts.append(element("path", title, d=path, class_=f"curve {name} {classes}"))
    parts += _marks(curve, classes, frame)
    return _picture(parts, frame, description)


def threshold_path(thresholds: Array, values: Array, frame: Frame) -> str:
    """The `d` of values that hold from the threshold before (0 for the first) up to their own; gaps where undefined."""
    thresholds, values = thin_staircase(thresholds, values, frame.inner[0])
    path, x, y = [], frame.x(0.0), None
    for threshold, value in zip(thresholds.tolist(), values.tolist(), strict=True):
        next_x = frame.x(min(max(threshold, 0.0), 1.0))
        next_y = None if np.isnan(value) else frame.y(value)
        if next_y is not None and next_y != y:
            path.append(f"M{x:g} {next_y:g}" if y is None else f"V{next_y:g}")
        if next_y is not None and next_x != x:
            path.append(f"H{next_x:g}")
        x, y = next_x, next_y
    return "".join(path)


def _marks(curve: OperatingCurve, classes: str, frame: Frame) -> list[Html]:
    """The best and the given point, their labels so placed that neither line runs through the other's label."""
    named = [("best", curve.best), ("given", curve.given)]
    points = [(name, point) for name, point in named if point is not None and 0.0 <= point.threshold <= 1.0]
    points.sort(key=lambda item: item[1].threshold)
    is_far_right = bool(points) and points[-1][1].threshold > 1.0 - _LABEL_SHARE
    marks = []
    for k, (name, point) in enumerate(points):
        is_last = k == len(points) - 1
        to_the_right = point.threshold < _LABEL_SHARE or (is_last and not is_far_right)
        row = (k if not is_far_right else len(points) - 1 - k) + 2 - len(points)
        marks.append(_mark(point, name, row, to_the_right, classes, frame))
    return marks


def _mark(point: OperatingPoint, name: str, row: int, to_the_right: bool, classes: str, frame: Frame) -> Html:
    """A vertical line with its label above the plot, in row 0 or 1, and a dot on F1."""
    x, label_y = frame.x(point.threshold), 14.0 + 17.0 * row
    text = f"{name} {format_number(point.threshold)}: F1 {format_number(point.f1)}"
    side, anchor = (5.0, "start") if to_the_right else (-5.0, "end")
    parts = [
        element("line", x1=x, x2=x, y1=label_y - 9.0, y2=frame.y(0.0), class_=f"mark {name}"),
        element("text", text, x=round(x + side, 1), y=label_y, class_="label", text_anchor=anchor),
    ]
    if point.f1 is not None:
        tooltip = f"precision {format_number(point.precision)}, recall {format_number(point.recall)}"
        dot = element("title", f"{text}, {tooltip}")
        parts.append(element("circle", dot, cx=x, cy=frame.y(point.f1), r=4.5, class_=f"dot {name} {classes}"))
    return joined(parts)


def _axes(frame: Frame, x_values: Sequence[float], x_title: str) -> Html:
    """Grid lines, and their numbers and the title where the frame has room for them; x_values: evenly spaced from 0."""
    parts: list[Html] = []
    is_large = frame.bottom > 20
    for k in range(6) if is_large else (0, 2.5, 5):
        fraction = k / 5
        y = frame.y(fraction)
        ends = {"x1": frame.x(0.0), "x2": frame.x(1.0), "y1": y, "y2": y}
        parts.append(element("line", **ends, class_="base" if k == 0 else "grid"))
        if is_large:
            parts.append(_tick(f"{fraction:g}", frame.x(0.0) - 6.0, y + 4.0, "end"))
    if is_large:
        for value in x_values:
            x = frame.x(value / x_values[-1])
            parts.append(_tick(f"{value:g}", x, frame.y(0.0) + 17.0, "middle"))
        middle = frame.x(0.5)
        parts.append(_tick(x_title, middle, frame.y(0.0) + 37.0, "middle"))
    return joined(parts)


def _tick(text: str, x: float, y: float, anchor: str) -> Html:
    return element("text", text, x=round(x, 1), y=round(y, 1), text_anchor=anchor)


def _picture(parts: Iterable[Html], frame: Frame, description: str) -> Html:
    return element(
        "svg", *parts, viewbox=f"0 0 {frame.width} {frame.height}", role="img", aria_label=description, class_="plot"
    )


def system_style(number: int) -> str:
    """The CSS class that gives the system of this number its colour and its dashes."""
    return f"s{number % NUM_SYSTEM_STYLES}"


def line_sample(number: int, classes: str = "") -> Html:
    """A short line as the system is drawn, or with CSS classes of its own, to stand before a name."""
    line = element("line", x1=0, x2=28, y1=6, y2=6, class_=classes or f"dash {system_style(number)}")
    return element("svg", line, class_="key", aria_hidden="true")
