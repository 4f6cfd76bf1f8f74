"""Timelines of the page: what was there against what was detected, one lane pair per class, for a few clips.

Found events are solid, missed ones an empty dashed outline, false alarms hatched, so that colour is not needed.
Positions are percentages of the lane's width: lanes stretch with the window and text does not. A clip with very many
events is drawn up to the first `MAX_EVENTS` of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from desed_task.submission.page_markup import Html, breakable, element, joined
from desed_task.submission.page_views import MarkedEvent, Timeline

MAX_EVENTS = 400
_LANES = {"reference": 3, "detected": 18}  # y of each lane
_HEIGHT = 12
_ROW_HEIGHT = 33
_STATUS_WORDS = {
    ("reference", "found"): "found",
    ("reference", "missed"): "missed",
    ("detected", "found"): "right",
    ("detected", "false"): "false alarm",
}


def timeline_figure(clip: Timeline) -> Html:
    """One clip: its name, its counts, and its lanes."""
    end = _drawn_seconds(clip)
    reference = [event for event in clip.reference if event.onset < end or not end]
    detected = [event for event in clip.detected if event.onset < end or not end]
    ticks = axis_ticks(end)
    labels = sorted({event.event_label for event in (*reference, *detected)})
    rows = [
        _row(
            label,
            [e for e in reference if e.event_label == label],
            [e for e in detected if e.event_label == label],
            end,
            ticks,
        )
        for label in labels
    ]
    rows.append(joined((element("div", "s", class_="unit"), _axis(ticks, end))))
    caption = element("figcaption", element("b", breakable(clip.audio_id)), element("span", _summary(clip, end)))
    lanes = element("div", *rows, class_="lanes")
    return element("figure", caption, lanes, class_="clip")


def legend() -> Html:
    """How the three kinds look."""
    samples = (
        ("found", "found (reference above, detection below)"),
        ("missed", "missed: in the reference only"),
        ("false", "false alarm: in the detections only"),
    )
    return element("p", *(element("span", _sample(kind), words) for kind, words in samples), class_="legend")


def axis_ticks(seconds: float) -> list[float]:
    """Round times from 0, at most seven, 1, 2 or 5 times a power of ten apart."""
    if seconds <= 0:
        return [0.0]
    step = next(m * 10.0**p for p in range(-3, 9) for m in (1, 2, 5) if seconds / (m * 10.0**p) <= 6.0)
    return [round(k * step, 6) for k in range(int(seconds / step + 1e-9) + 1)]


def _drawn_seconds(clip: Timeline) -> float:
    """The whole clip, or up to where the first event that is too many begins."""
    onsets = sorted(event.onset for event in (*clip.reference, *clip.detected))
    return clip.duration if len(onsets) <= MAX_EVENTS else onsets[MAX_EVENTS]


def _summary(clip: Timeline, end: float) -> str:
    missed = sum(event.status == "missed" for event in clip.reference)
    false = sum(event.status == "false" for event in clip.detected)
    found = len(clip.reference) - missed
    words = f"{clip.duration:.2f} s: {found} found, {missed} missed, {_alarms(false)}"
    return words if end == clip.duration else f"{words}; the first {end:.2f} s are drawn"


def _alarms(count: int) -> str:
    return f"{count} false alarm{'' if count == 1 else 's'}"


def _row(
    label: str, reference: Sequence[MarkedEvent], detected: Sequence[MarkedEvent], end: float, ticks: Sequence[float]
) -> Html:
    parts = [_vertical(tick, end, _ROW_HEIGHT) for tick in ticks]
    parts += [_block(event, "reference", end) for event in reference]
    parts += [_block(event, "detected", end) for event in detected]
    spoken = "; ".join(
        [_sentence(event, "reference") for event in reference] + [_sentence(event, "detected") for event in detected]
    )
    lane = element("svg", *parts, role="img", aria_label=f"{label}: {spoken}", height=_ROW_HEIGHT)
    return joined((element("div", breakable(label), class_="name"), lane))


def _block(event: MarkedEvent, lane: str, end: float) -> Html:
    onset, offset = min(event.onset, end), min(event.offset, end)
    return element(
        "rect",
        element("title", f"{event.event_label}, {_sentence(event, lane)}"),
        x=f"{_percent(onset, end)}%",
        width=f"{_percent(offset - onset, end)}%",
        y=_LANES[lane],
        height=_HEIGHT,
        rx=1.5,
        class_=event.status,
    )


def _sentence(event: MarkedEvent, lane: str) -> str:
    words = _STATUS_WORDS.get((lane, event.status), event.status)
    return f"{lane} {event.onset:.2f} to {event.offset:.2f} s, {words}"


def _axis(ticks: Sequence[float], end: float) -> Html:
    parts = [_vertical(tick, end, 5) for tick in ticks]
    for tick in ticks:
        at = tick / end if end else 0.0
        anchor = "start" if at < 0.02 else "end" if at > 0.98 else "middle"
        parts.append(element("text", f"{tick:g}", x=f"{_percent(tick, end)}%", y=17, text_anchor=anchor))
    return element("svg", *parts, height=21, aria_hidden="true")


def _vertical(tick: float, end: float, height: int) -> Html:
    x = f"{_percent(tick, end)}%"
    return element("line", x1=x, x2=x, y1=0, y2=height, class_="grid")


def _percent(seconds: float, end: float) -> str:
    return f"{100.0 * seconds / end:.2f}".rstrip("0").rstrip(".") if end else "0"


def _sample(kind: str) -> Html:
    block = element("rect", x=1, y=1, width=26, height=_HEIGHT - 1, rx=1.5, class_=kind)
    return element("svg", block, width=28, height=_HEIGHT + 1, aria_hidden="true")
