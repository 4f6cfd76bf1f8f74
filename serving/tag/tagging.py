"""The verb `desed-task tag FILE... --bundle DIR`: what recordings of any length hold, in one of several forms.

Files are heard as the service hears them, without any of its HTTP: decoded block by block in a thread of their own,
heard window by window, so that an hour takes no more memory than a minute. One that cannot be heard is a sentence on
standard error; the others are tagged all the same, and the exit code is 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path

from tqdm import tqdm

from desed_task.audio.containers import find_recordings
from desed_task.audio.waveform import AudioInfo, Waveform
from desed_task.command_line import show
from desed_task.detector import Detector
from desed_task.errors import AudioError, EventTableError
from desed_task.formats.whole_files import write_text
from desed_task.hearing import DetectionOptions, Hearing
from serving.tag.arguments import OTHER_CLASSES, detection_options, parser, place_of, require_places
from serving.tag.blocks_ahead import Ended, Opened, Step, decoded_ahead
from serving.tag.formats import FORMATS, TagFormat, TaggedFile

# A file that is named so and is no recording is told of, not passed over.
_ENDINGS = (
    *(".wav", ".wave", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc"),
    *(".m4a", ".mp4", ".webm", ".aac", ".au", ".caf"),
)
# From which score on a recording has a class, where no threshold says it.
_PRESENT = 0.5
Sink = Callable[[Path, str], object]


def tag(argv: Sequence[str]) -> int:
    """Tag every file; 0, or 2 when one of them could not be heard."""
    arguments = parser().parse_args(argv)
    options = detection_options(arguments)
    detector = Detector(arguments.bundle, arguments.device, arguments.num_threads)
    Hearing.plan(detector.bundle, options)  # refuses classes that the bundle does not know
    form = FORMATS[arguments.format]
    files, refusals = _find_files(arguments.files)
    require_places(arguments, form, files, detector.bundle.has_frames)
    heading = form.heading if detector.bundle.has_frames else form.heading_of_tags
    with (
        _sink(arguments, form, heading) as write,
        _Progress(len(files), arguments.output or arguments.output_dir) as bar,
    ):
        for file, recording in _recordings(files, detector.bundle.sample_rate, bar):
            try:
                write(file, form.text(_tagged(detector, file, recording, options, arguments.top_k)))
            except (AudioError, EventTableError) as error:
                refusals.append(error)
                bar.say(f"error: {error}")
            bar.next_file()
    return 2 if refusals else 0


def _find_files(places: Sequence[Path]) -> tuple[list[Path], list[AudioError | EventTableError]]:
    """The recordings at `places`, each once, and what is wrong with folders, which is said at once."""
    files: dict[Path, None] = {}
    refusals: list[AudioError | EventTableError] = []
    for place in places:
        try:
            files.update(dict.fromkeys(_recordings_in(place) if place.is_dir() else [place]))
        except (AudioError, OSError) as error:
            refusals.append(error if isinstance(error, AudioError) else AudioError(f"{place}: {error.strerror}"))
            print(f"error: {refusals[-1]}", file=sys.stderr)
    return list(files), refusals


def _recordings_in(folder: Path) -> list[Path]:
    """What begins as a recording, and what is named like one; AudioError when there is neither."""
    named = [path for path in folder.rglob("*") if _is_named_so(path) and path.is_file()]
    try:
        return sorted({*named, *find_recordings(folder)})
    except AudioError:
        if not named:
            raise
        return sorted(named)


def _is_named_so(path: Path) -> bool:
    return path.name.lower().endswith(_ENDINGS) and not path.name.startswith(".")


class _Recording:
    """The blocks of one recording. `info` is there when they have all come; AudioError when they cannot."""

    def __init__(self, steps: Iterator[Step], sample_rate: int, progress: _Progress) -> None:
        self._steps, self._sample_rate, self._progress = steps, sample_rate, progress
        self.info: AudioInfo | None = None

    def __iter__(self) -> Iterator[Waveform]:
        claimed = None
        for _, what in self._steps:
            if isinstance(what, Opened):
                claimed = what.claimed_seconds
            elif isinstance(what, Ended):
                if isinstance(what.outcome, AudioError):
                    raise what.outcome
                self.info = what.outcome
            else:
                yield what
                if claimed:
                    self._progress.heard(len(what) / self._sample_rate / claimed)


def _recordings(files: Sequence[Path], sample_rate: int, progress: _Progress) -> Iterator[tuple[Path, _Recording]]:
    with closing(decoded_ahead(files, sample_rate)) as all_steps:
        for file, steps in groupby(all_steps, key=lambda step: step.file):
            yield file, _Recording(steps, sample_rate, progress)


def _tagged(detector: Detector, file: Path, recording: _Recording, options: DetectionOptions, top_k: int) -> TaggedFile:
    heard = detector.hear(recording, options)
    assert recording.info is not None
    asked = options.thresholds if isinstance(options.thresholds, dict) else {}
    least = {label: asked.get(label, asked.get(OTHER_CLASSES)) for label, _ in heard.tags}
    tags = [(label, score) for label, score in heard.tags if (limit := least[label]) is None or score > limit]
    present = [label for label, score in tags if score > (_PRESENT if least[label] is None else 0.0)]
    # A name that is no UTF-8 must still be printed.
    name = str(file).encode("utf-8", "backslashreplace").decode("utf-8")
    return TaggedFile(
        name,
        recording.info.duration,
        recording.info.sample_rate,
        tuple(tags[:top_k]),
        heard.events if detector.bundle.has_frames else None,
        tuple(present),
    )


@contextmanager
def _sink(arguments: argparse.Namespace, form: TagFormat, heading: str) -> Iterator[Sink]:
    """What takes the text of each file: standard output, a folder, or a file that is there only when all is written."""
    if arguments.output_dir is not None:
        arguments.output_dir.mkdir(parents=True, exist_ok=True)
        yield lambda file, text: write_text(text, place_of(arguments.output_dir, file, form))
    elif arguments.output is None:
        if heading:
            show(heading.removesuffix("\n"))
        yield lambda _, text: show(text.removesuffix("\n")) if text else None
    else:
        partial = arguments.output.with_name(f"{arguments.output.name}.partial")
        try:
            with partial.open("w", encoding="utf-8", newline="\n") as stream:
                stream.write(heading)
                yield lambda _, text: stream.write(text)
            partial.replace(arguments.output)
        finally:
            partial.unlink(missing_ok=True)


class _Progress:
    """A bar on the terminal, unless the results appear there. It moves within long files too."""

    def __init__(self, num_files: int, output: Path | None) -> None:
        self._bar = tqdm(
            total=num_files,
            disable=True if output is None and sys.stdout.isatty() else None,
            bar_format="{l_bar}{bar}| {n:.1f}/{total} files [{elapsed}<{remaining}]",
        )
        self._of_file = 0.0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def heard(self, part: float) -> None:
        """One more part of a file, by the length that its header claims."""
        part = min(part, 1.0 - self._of_file)
        self._of_file += part
        self._bar.update(part)

    def next_file(self) -> None:
        """The file has ended."""
        self._bar.update(1.0 - self._of_file)
        self._of_file = 0.0

    def say(self, text: str) -> None:
        """A line on standard error, above the bar."""
        self._bar.write(text, file=sys.stderr)
