"""A picture of how a figure grows with the number of training clips: an SVG that any browser shows.

Sizes lie on a logarithmic axis, so that each doubling is as far; every run is a dot, the means of each system are
joined by a line and bear the 95 % interval of the mean over the seeds where there are several.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from desed_task.metrics.intervals import spread
from desed_task.submission.page_markup import Html, element, joined
from desed_task.submission.page_plots import Frame

# Number of clips -> the figure of each run.
Curve = Mapping[int, Sequence[float]]
_FRAME = Frame(640, 420, left=60, right=20, top=20, bottom=60)
_LINE_HEIGHT = 18
# Told apart by who sees no red and green (Okabe and Ito 2008).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
_MOST_LINES = 8


@dataclass(frozen=True)
class _Axes:
    """Sizes and figures -> places in the picture."""

    sizes: tuple[int, ...]
    low: float
    high: float
    step: float

    def x(self, size: float) -> float:
        first, last = math.log(self.sizes[0]), math.log(self.sizes[-1])
        return _FRAME.x(0.5 if first == last else 0.04 + 0.92 * (math.log(size) - first) / (last - first))

    def y(self, value: float) -> float:
        return _FRAME.y(min(1.0, max(0.0, (value - self.low) / (self.high - self.low))))


def draw_sizes(curves: Mapping[str, Curve], figure: str, of_what: str) -> Html:
    """curves: name of a line -> its runs; figure, of_what: titles of the axes. At least one run in all."""
    axes = _axes_of(curves)
    named = list(zip(curves.items(), (_COLOURS[n % len(_COLOURS)] for n in range(len(curves))), strict=True))
    parts = [
        element("rect", width=_FRAME.width, height=_FRAME.height, fill="white"),
        *_grid(axes, figure, of_what),
        *(_curve(axes, curve, colour) for (_, curve), colour in named),
        *(_legend(number, name, colour) for number, ((name, _), colour) in enumerate(named)),
    ]
    return element(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewbox=f"0 0 {_FRAME.width} {_FRAME.height}",
        width=_FRAME.width,
        height=_FRAME.height,
        font_family="sans-serif",
        font_size=13,
        role="img",
        aria_label=f"{figure} against {of_what}",
    )


def _axes_of(curves: Mapping[str, Curve]) -> _Axes:
    """All that is drawn, intervals too, between round numbers."""
    sizes = tuple(sorted({size for curve in curves.values() for size in curve}))
    values = [value for curve in curves.values() for runs in curve.values() for value in (*runs, *_interval(runs))]
    least, most = max(0.0, min(values)), min(1.0, max(values))
    step = next((step for step in _STEPS if (most - least) / step <= _MOST_LINES), _STEPS[-1])
    low = math.floor(least / step) * step
    return _Axes(sizes, low, max(math.ceil(most / step) * step, low + step), step)


def _grid(axes: _Axes, figure: str, of_what: str) -> Iterator[Html]:
    for number in range(round((axes.high - axes.low) / axes.step) + 1):
        value = axes.low + number * axes.step
        y = axes.y(value)
        yield element("line", x1=_FRAME.x(0.0), x2=_FRAME.x(1.0), y1=y, y2=y, stroke="#d5d5d5")
        yield element("text", f"{value:.2f}", x=_FRAME.x(0.0) - 8.0, y=y + 4.0, text_anchor="end")
    for size in axes.sizes:
        yield element("text", f"{size:,}", x=axes.x(size), y=_FRAME.y(0.0) + 20.0, text_anchor="middle")
    yield element("text", of_what, x=_FRAME.x(0.5), y=_FRAME.y(0.0) + 44.0, text_anchor="middle")
    middle = _FRAME.y(0.5)
    yield element("text", figure, x=16.0, y=middle, text_anchor="middle", transform=f"rotate(-90 16 {middle:g})")


def _curve(axes: _Axes, curve: Curve, colour: str) -> Html:
    parts: list[Html] = []
    means = {size: spread(runs).mean for size, runs in sorted(curve.items())}
    points = " ".join(f"{axes.x(size):g},{axes.y(mean):g}" for size, mean in means.items())
    parts.append(element("polyline", points=points, fill="none", stroke=colour, stroke_width=2))
    for size, runs in curve.items():
        x = axes.x(size)
        for end in [_interval(runs)] if _interval(runs) else []:
            parts.append(element("line", x1=x, x2=x, y1=axes.y(end[0]), y2=axes.y(end[1]), stroke=colour))
        title = element("title", f"{size:,} clips: {spread(runs)} over {len(runs)} runs")
        parts.append(element("circle", title, cx=x, cy=axes.y(means[size]), r=4.5, fill=colour))
        parts += [element("circle", cx=x, cy=axes.y(run), r=2.5, fill="white", stroke=colour) for run in runs[:99]]
    return joined(parts)


def _legend(number: int, name: str, colour: str) -> Html:
    """Names at the bottom right, where curves that grow leave room."""
    x, y = _FRAME.x(0.62), _FRAME.y(0.02) - number * _LINE_HEIGHT
    sample = element("line", x1=x, x2=x + 24.0, y1=y - 4.0, y2=y - 4.0, stroke=colour, stroke_width=2)
    return joined([sample, element("text", name, x=x + 30.0, y=y)])


def _interval(runs: Sequence[float]) -> tuple[float, ...]:
    """The 95 % interval of the mean; none of a single run."""
    return spread(runs).interval or ()
