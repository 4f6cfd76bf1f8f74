"""The forms in which `desed-task tag` writes what recordings hold.

table      a heading per file, rank, score and class of its best tags, then times, score and class of its events
json       one object per line and file: file, duration (seconds), tags [{label, score}], and, when the bundle gives
           frame scores, events [{label, onset, offset, score}] (seconds)
csv        file,rank,label,score
tsv        DCASE's tables: filename onset offset event_label; filename event_labels when there are no frame scores
audacity   a label track     raven   a selection table     srt, vtt   subtitles; each of these of one recording
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from desed_task.events import Event
from desed_task.formats.audacity import labels_text
from desed_task.formats.dcase import STRONG_COLUMNS, WEAK_COLUMNS, strong_text, weak_text
from desed_task.formats.raven import selections_text
from desed_task.formats.subtitles import srt_text, vtt_text


@dataclass(frozen=True)
class TaggedFile:
    """What is said of one file.

    duration: seconds; sample_rate: its own; tags: (label, score), best first; events: None without frames; present:
    the classes whose score passes their threshold.
    """

    file: str
    duration: float
    sample_rate: int
    tags: tuple[tuple[str, float], ...]
    events: tuple[Event, ...] | None
    present: tuple[str, ...]

    @property
    def all_events(self) -> tuple[Event, ...]:
        """None without frames is no event."""
        return self.events or ()


class TagFormat(NamedTuple):
    """How results are written: what stands above them, with events and without, and the text of one file.

    suffix: of the file of one recording, where a file holds only one; such formats are of events alone.
    """

    text: Callable[[TaggedFile], str]
    heading: str = ""
    heading_of_tags: str = ""
    suffix: str | None = None


def _table(tagged: TaggedFile) -> str:
    lines = [f"{tagged.file}  {tagged.duration:.2f} s"]
    lines += [f"{rank:5}  {score:.3f}  {label}" for rank, (label, score) in enumerate(tagged.tags, start=1)]
    for event in tagged.all_events:
        lines.append(f"{event.onset:9.3f} - {event.offset:9.3f} s  {event.score:.3f}  {event.event_label}")
    return "\n".join(lines) + "\n"


def _json_line(tagged: TaggedFile) -> str:
    document = {
        "file": tagged.file,
        "duration": tagged.duration,
        "tags": [{"label": label, "score": score} for label, score in tagged.tags],
    }
    if tagged.events is not None:
        document["events"] = [
            {"label": event.event_label, "onset": event.onset, "offset": event.offset, "score": event.score}
            for event in tagged.events
        ]
    return json.dumps(document, ensure_ascii=False) + "\n"


def _csv_lines(tagged: TaggedFile) -> str:
    stream = io.StringIO()
    rows = [(tagged.file, rank, label, score) for rank, (label, score) in enumerate(tagged.tags, start=1)]
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _tsv_lines(tagged: TaggedFile) -> str:
    if tagged.events is None:
        return weak_text(tagged.file, tagged.present)
    return strong_text(tagged.file, tagged.events)


FORMATS = {
    "table": TagFormat(_table),
    "json": TagFormat(_json_line),
    "csv": TagFormat(_csv_lines, *["file,rank,label,score\n"] * 2),
    "tsv": TagFormat(_tsv_lines, "\t".join(STRONG_COLUMNS) + "\n", "\t".join(WEAK_COLUMNS) + "\n"),
    "audacity": TagFormat(lambda tagged: labels_text(tagged.all_events), suffix=".txt"),
    "raven": TagFormat(
        lambda tagged: selections_text(tagged.all_events, tagged.sample_rate, tagged.file), suffix=".selections.txt"
    ),
    "srt": TagFormat(lambda tagged: srt_text(tagged.all_events), suffix=".srt"),
    "vtt": TagFormat(lambda tagged: vtt_text(tagged.all_events), suffix=".vtt"),
}
