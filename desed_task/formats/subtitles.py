"""Subtitles: SubRip (.srt) and WebVTT (.vtt), one cue per event, its text the class name; times to the millisecond.

Events overlap, and so do their cues: WebVTT allows it, and players of SubRip show both. An event of less than a
millisecond has a cue of one. In WebVTT `&`, `<` and `>` are written as the references that the standard asks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from desed_task.errors import EventTableError
from desed_task.events import Event
from desed_task.formats.whole_files import write_text

_TIME = r"(?:(\d{2,}):)?(\d{2}):(\d{2})[.,](\d{3})"
_CUE = re.compile(rf"^{_TIME} +--> +{_TIME}(?: .*)?$")


def srt_text(events: Iterable[Event]) -> str:
    """The SubRip text of one clip; empty without events."""
    cues = [
        f"{number}\n{_span(event, ',')}\n{event.event_label}\n" for number, event in enumerate(sorted(events), start=1)
    ]
    return "\n".join(cues)


def vtt_text(events: Iterable[Event]) -> str:
    """The WebVTT text of one clip; its header alone without events."""
    cues = [f"{_span(event, '.')}\n{_escaped(event.event_label)}\n" for event in sorted(events)]
    return "\n".join(["WEBVTT\n", *cues])


def write_subtitles(events: Iterable[Event], path: Path) -> None:
    """Write the cues of one clip in the form that the suffix names: .srt or .vtt."""
    texts = {".srt": srt_text, ".vtt": vtt_text}
    if path.suffix not in texts:
        raise EventTableError(f"{path}: subtitles end in .srt or .vtt")
    write_text(texts[path.suffix](events), path)


def read_subtitles(path: Path) -> list[Event]:
    """The events of a .srt or .vtt file, in its order; EventTableError on a cue without text or length."""
    text = path.read_text(encoding="utf-8-sig")
    unescape = _unescaped if text.startswith("WEBVTT") else str
    events = []
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        lines = block.strip("\n").split("\n")
        times = next((number for number, line in enumerate(lines) if "-->" in line), None)
        if times is not None:
            events.append(_event(lines[times], unescape(" ".join(lines[times + 1 :]).strip()), path))
    return events


def _event(times: str, label: str, path: Path) -> Event:
    found = _CUE.match(times.strip())
    if found is None or not label:
        raise EventTableError(f"{path}: {times.strip()!r} is no cue with two times and a text under it")
    parts = [int(part or 0) for part in found.groups()]
    onset, offset = (
        (3600_000 * hours + 60_000 * minutes + 1000 * seconds + milliseconds) / 1000
        for hours, minutes, seconds, milliseconds in (parts[:4], parts[4:])
    )
    try:
        return Event(onset, offset, label)
    except EventTableError as error:
        raise EventTableError(f"{path}: {error}") from None


def _span(event: Event, decimal_mark: str) -> str:
    first = round(event.onset * 1000)
    last = max(round(event.offset * 1000), first + 1)
    return f"{_clock(first, decimal_mark)} --> {_clock(last, decimal_mark)}"


def _clock(milliseconds: int, decimal_mark: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{decimal_mark}{rest:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
