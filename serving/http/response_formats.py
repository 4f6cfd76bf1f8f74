"""The forms that an answer may have, chosen by `response_format`, else by the header Accept, else JSON.

    json      application/json            the whole answer
    ndjson    application/x-ndjson        a line for the recording, then one per tag and one per event
    tsv       text/tab-separated-values   DCASE: filename onset offset event_label; of tags: filename event_labels
    csv       text/csv                    a row per event with score, model and version; of tags: a row per tag
    audacity  text/plain                  a label track
    raven     text/tab-separated-values   a selection table
    srt, vtt  application/x-subrip, text/vtt
    text      text/plain                  a line per event, of tags a line per tag, for people

Tags have no times, so for them only json, ndjson, tsv, csv and text make sense, else it is a 406. In DCASE's weak table
a recording has the classes whose score passes the request's threshold, 0.5 where it names none.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from desed_task.events import Event
from desed_task.formats.audacity import labels_text
from desed_task.formats.raven import selections_text
from desed_task.formats.subtitles import srt_text, vtt_text
from serving.errors import RequestError
from serving.http.answers import heard_document, json_answer, json_lines
from serving.http.calls import Answer
from serving.http.queries import FORMAT_NAMES
from serving.inference.recording import Heard

_DEFAULT_THRESHOLD = 0.5


class Said(NamedTuple):
    """What is written. file_name: of the recording; tag_threshold: from which score on a clip has a class."""

    request_id: str
    file_name: str
    heard: Heard
    top_k: int | None
    tag_threshold: float | None = None

    @property
    def tags(self) -> Sequence[tuple[str, float]]:
        """The tags that are listed."""
        return self.heard.detections.tags[: self.top_k]


def _json(said: Said) -> Answer:
    return json_answer(heard_document(said.request_id, said.heard, said.top_k))


def _tags_json(said: Said) -> Answer:
    return json_answer(heard_document(said.request_id, said.heard, said.top_k, with_events=False))


def _ndjson(said: Said) -> Iterator[bytes]:
    return json_lines(heard_document(said.request_id, said.heard, said.top_k))


def _tags_ndjson(said: Said) -> Iterator[bytes]:
    return json_lines(heard_document(said.request_id, said.heard, said.top_k, with_events=False))


def _tsv(said: Said) -> str:
    rows = [f"{_seconds(event.onset)}\t{_seconds(event.offset)}\t{event.event_label}" for event in _events(said)]
    return (
        "\n".join(["filename\tonset\toffset\tevent_label", *(f"{said.file_name}\t{row}" for row in rows or ["\t\t"])])
        + "\n"
    )


def _tags_tsv(said: Said) -> str:
    threshold = _DEFAULT_THRESHOLD if said.tag_threshold is None else said.tag_threshold
    names = ",".join(label for label, score in said.tags if score > threshold)
    return f"filename\tevent_labels\n{said.file_name}\t{names}\n"


def _csv(said: Said) -> str:
    bundle = said.heard.model.bundle
    header = ("filename", "onset", "offset", "event_label", "score", "model", "version")
    rows = [
        (
            said.file_name,
            _seconds(e.onset),
            _seconds(e.offset),
            e.event_label,
            e.score,
            said.heard.model.id,
            bundle.version,
        )
        for e in _events(said)
    ]
    return _table([header, *rows])


def _tags_csv(said: Said) -> str:
    model, version = said.heard.model.id, said.heard.model.bundle.version
    rows = [(said.file_name, label, score, model, version) for label, score in said.tags]
    return _table([("filename", "label", "score", "model", "version"), *rows])


def _raven(said: Said) -> str:
    return selections_text(_events(said), said.heard.audio.sample_rate, said.file_name)


def events_text(events: Sequence[Event]) -> str:
    """A line per event, for people."""
    return "".join(f"{e.onset:9.3f} - {e.offset:9.3f} s  {e.event_label}{_score(e.score)}\n" for e in events)


def _tags_text(said: Said) -> str:
    return "".join(f"{score:.3f}  {label}\n" for label, score in said.tags)


def _events(said: Said) -> tuple[Event, ...]:
    return said.heard.detections.events


def _score(score: float | None) -> str:
    return "" if score is None else f"  {score:.3f}"


def _seconds(value: float) -> str:
    return f"{value:.6f}".removesuffix("000")


def _table(rows: Sequence[Sequence[object]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _text(media_type: str, write: Callable[[Said], str]) -> Callable[[Said], Answer]:
    kind = f"{media_type}; charset=utf-8".encode("ascii")
    return lambda said: Answer(write(said).encode("utf-8", "backslashreplace"), kind)


def _lines(write: Callable[[Said], Iterator[bytes]]) -> Callable[[Said], Answer]:
    return lambda said: Answer(write(said), NDJSON.encode("ascii"))


NDJSON, TSV, CSV, PLAIN = "application/x-ndjson", "text/tab-separated-values", "text/csv", "text/plain"
SRT, VTT = "application/x-subrip", "text/vtt"
Writers = dict[str, Callable[[Said], Answer]]
EVENT_FORMATS: Writers = {
    "json": _json,
    "ndjson": _lines(_ndjson),
    "tsv": _text(TSV, _tsv),
    "csv": _text(CSV, _csv),
    "audacity": _text(PLAIN, lambda said: labels_text(_events(said))),
    "raven": _text(TSV, _raven),
    "srt": _text(SRT, lambda said: srt_text(_events(said))),
    "vtt": _text(VTT, lambda said: vtt_text(_events(said))),
    "text": _text(PLAIN, lambda said: events_text(_events(said))),
}
TAG_FORMATS: Writers = {
    "json": _tags_json,
    "ndjson": _lines(_tags_ndjson),
    "tsv": _text(TSV, _tags_tsv),
    "csv": _text(CSV, _tags_csv),
    "text": _text(PLAIN, _tags_text),
}
# What a media type of the header Accept chooses; `raven` and `audacity` share theirs and go by name only.
MEDIA_TYPES = {
    "application/json": "json",
    NDJSON: "ndjson",
    "application/jsonl": "ndjson",
    TSV: "tsv",
    CSV: "csv",
    PLAIN: "text",
    SRT: "srt",
    VTT: "vtt",
}


def choose_format(name: str | None, accept: bytes | None, writers: Writers) -> Callable[[Said], Answer]:
    """How an answer is written; RequestError 406 when it cannot have the form that is asked for."""
    chosen = name or ("json" if accept is None else _accepted(accept, tuple(writers)))
    if chosen not in writers:
        raise _not_acceptable(f"{chosen!r} cannot say this", writers)
    return writers[chosen]


@lru_cache(maxsize=256)
def _accepted(accept: bytes, names: tuple[str, ...]) -> str:
    """The format of the media type that the header likes best, of equals the one that it names first."""
    ranges = [_media_range(part) for part in accept.decode("latin-1").split(",") if part.strip()]
    for media_type, quality in sorted(ranges, key=lambda item: -item[1]):
        if quality <= 0:
            continue
        if media_type in ("*/*", "application/*"):
            return "json"
        if media_type == "text/*":
            return "text"
        if MEDIA_TYPES.get(media_type) in names:
            return MEDIA_TYPES[media_type]
    if not ranges:
        return "json"
    raise _not_acceptable("the header Accept names none of the forms", names)


def _media_range(part: str) -> tuple[str, float]:
    media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = next((value[2:] for value in parameters if value.startswith("q=")), "1")
    try:
        return media_type, float(quality)
    except ValueError:
        return media_type, 1.0


def _not_acceptable(what: str, names: Any) -> RequestError:
    known = [name for name in FORMAT_NAMES if name in names]
    return RequestError(406, "not_acceptable", f"{what}; response_format may be {', '.join(known)}")
