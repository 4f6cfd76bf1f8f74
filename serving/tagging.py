"""The verb `desed-task tag FILE... --bundle DIR`: what recordings of any length hold, as a table, JSON or CSV.

    table   a heading per file, then rank, score and class of its best tags
    json    one object per line and file: file, duration (seconds), tags [{label, score}], and, when the bundle gives
            frame scores, events [{label, onset, offset, score}] (seconds)
    csv     file,rank,label,score

Files are heard as the service hears them, without any of its HTTP. One that cannot be heard is a sentence on standard
error; the others are tagged all the same, and the exit code is 2.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from desed_task.audio.containers import find_recordings
from desed_task.audio.reading import AudioInfo, Waveform, read_recording
from desed_task.command_line import RecipeParser, show, whole_number
from desed_task.detector import Detector
from desed_task.errors import AudioError
from desed_task.events import Event

# Recordings decoded while another is heard.
_DECODED_AHEAD = 2


@dataclass(frozen=True)
class TaggedFile:
    """What is said of one file. duration: seconds; tags: (label, score), best first; events: None without frames."""

    file: str
    duration: float
    tags: tuple[tuple[str, float], ...]
    events: tuple[Event, ...] | None


class _Format(NamedTuple):
    """How results are written: what stands above them, and the text of one file, both with their line breaks."""

    heading: str
    text: Callable[[TaggedFile], str]


def tag(argv: Sequence[str]) -> int:
    """Tag every file; 0, or 2 when one of them could not be heard."""
    arguments = _parser().parse_args(argv)
    detector = Detector(arguments.bundle, arguments.device, arguments.num_threads)
    files, refusals = _find_files(arguments.files)
    form = _FORMATS[arguments.format]
    with _output(arguments.output) as write, _progress(len(files), arguments.output) as progress:
        write(form.heading)
        for file, recording in _decoded(files, detector.bundle.sample_rate):
            try:
                write(form.text(_tagged(detector, file, recording.result(), arguments.top_k, arguments.threshold)))
            except AudioError as error:
                refusals.append(error)
                progress.write(f"error: {error}", file=sys.stderr)
            progress.update()
    return 2 if refusals else 0


def _parser() -> RecipeParser:
    parser = RecipeParser(prog="desed-task tag", description="Say what recordings hold.")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="recordings, or folders of them")
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--top_k", type=whole_number(1), default=10, help="how many tags of a file are listed")
    parser.add_argument("--threshold", type=_score, help="list only scores above this, and such events")
    parser.add_argument("--format", choices=sorted(_FORMATS), default="table", help="json: one object per line")
    parser.add_argument("--output", type=Path, help="file to write instead of the screen; an older one is replaced")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--num_threads", type=whole_number(1), help="threads on the CPU (all cores)")
    return parser


def _score(text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = -1.0
    if not 0.0 <= score <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return score


def _find_files(places: Sequence[Path]) -> tuple[list[Path], list[AudioError]]:
    """The recordings at `places`, each once, and what is wrong with folders, which is said at once."""
    files: dict[Path, None] = {}
    refusals = []
    for place in places:
        try:
            files.update(dict.fromkeys(find_recordings(place) if place.is_dir() else [place]))
        except (AudioError, OSError) as error:
            refusals.append(error if isinstance(error, AudioError) else AudioError(f"{place}: {error.strerror}"))
            print(f"error: {refusals[-1]}", file=sys.stderr)
    return list(files), refusals


def _decoded(files: Sequence[Path], sample_rate: int) -> Iterator[tuple[Path, Future[tuple[Waveform, AudioInfo]]]]:
    """Each file with its decoded recording, or with the AudioError of it; the next ones are decoded meanwhile."""
    ahead: deque[tuple[Path, Future[tuple[Waveform, AudioInfo]]]] = deque()
    with ThreadPoolExecutor(1) as pool:
        for file in files:
            ahead.append((file, pool.submit(read_recording, file, sample_rate)))
            if len(ahead) > _DECODED_AHEAD:
                yield ahead.popleft()
        while ahead:
            yield ahead.popleft()


def _tagged(
    detector: Detector, file: Path, recording: tuple[Waveform, AudioInfo], top_k: int, threshold: float | None
) -> TaggedFile:
    waveform, info = recording
    scores = detector.scores(waveform)
    heard = detector.decide(scores, threshold)
    tags = heard.tags[:top_k] if threshold is None else [t for t in heard.tags if t[1] > threshold][:top_k]
    # A name that is no UTF-8 must still be printed.
    name = str(file).encode("utf-8", "backslashreplace").decode("utf-8")
    return TaggedFile(name, info.duration, tuple(tags), None if scores.frame_values is None else heard.events)


def _table(tagged: TaggedFile) -> str:
    lines = [f"{tagged.file}  {tagged.duration:.2f} s"]
    lines += [f"{rank:5}  {score:.3f}  {label}" for rank, (label, score) in enumerate(tagged.tags, start=1)]
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


_FORMATS = {
    "table": _Format("", _table),
    "json": _Format("", _json_line),
    "csv": _Format("file,rank,label,score\n", _csv_lines),
}


@contextmanager
def _output(path: Path | None) -> Iterator[Callable[[str], object]]:
    """What writes a text: to standard output, or to a file that is there only when all is written."""
    if path is None:
        yield lambda text: show(text.removesuffix("\n")) if text else None
        return
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream.write
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _progress(num_files: int, output: Path | None) -> tqdm[None]:
    """A bar on the terminal, unless the results appear there."""
    return tqdm(total=num_files, unit="file", disable=True if output is None and sys.stdout.isatty() else None)
