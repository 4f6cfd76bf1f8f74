"""Do training, export and service agree? The same recordings through a checkpoint, its bundle and a running service.

    python benchmarks/parity.py --checkpoint C --bundle DIR --audio_dir D --num_clips 50 --json parity.json

The bundle must equal the service to the last digit, events and tags. The checkpoint may differ from the bundle by
float32 rounding: scores by at most 1e-4, and events only where a score lies that close to its threshold. Exits 1
otherwise.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from desed_task.audio.containers import find_recordings
from desed_task.audio.reading import read_waveform
from desed_task.command_line import RecipeParser, run_recipe, show
from desed_task.errors import DesedTaskError
from desed_task.events import Event, audio_id_of
from desed_task.listening import Listener, open_bundle, open_checkpoint
from desed_task.postprocessing.pipeline import PostProcessing
from desed_task.postprocessing.thresholds import decide
from desed_task.scores import Scores

SCORE_TOLERANCE = 1e-4
START_SECONDS = 120.0


@dataclass(frozen=True)
class Answer:
    """What is said about one recording. events: (label, onset, offset, score); tags: (label, score), highest first."""

    events: tuple[tuple[str, float, float, float], ...]
    tags: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Difference:
    """Events of one class of one clip that two systems place differently; explained by scores beside the threshold."""

    audio_id: str
    label: str
    checkpoint: tuple[tuple[float, float], ...]
    bundle: tuple[tuple[float, float], ...]
    explained: bool


@dataclass(frozen=True)
class Agreement:
    """The comparison of all recordings."""

    clips: int
    clips_with_events: int
    exactly_equal_to_service: int
    largest_score_difference: float
    events: int
    differences: tuple[Difference, ...]

    @property
    def holds(self) -> bool:
        """Whether everything that differs is explained."""
        return (
            self.exactly_equal_to_service == self.clips
            and self.largest_score_difference <= SCORE_TOLERANCE
            and all(difference.explained for difference in self.differences)
        )


def main(argv: Sequence[str]) -> int:
    """Compare, print, write; 1 unless everything agrees."""
    arguments = _parser().parse_args(argv)
    recordings = choose_recordings(arguments.audio_dir, arguments.num_clips)
    with running_service(arguments.bundle) as url:
        served = {audio_id_of(path.name): ask(url, path) for path in recordings}
    bundle = open_bundle(arguments.bundle, "cpu")
    checkpoint = open_checkpoint(arguments.checkpoint, arguments.model, "cpu")
    agreement = compare(served, hear(bundle, recordings), hear(checkpoint, recordings), bundle.postprocessing)
    show(_summary(agreement))
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(_rows(agreement), indent=1) + "\n", encoding="utf-8")
    return 0 if agreement.holds else 1


def choose_recordings(audio_dir: Path, num_clips: int) -> list[Path]:
    """`num_clips` recordings evenly spread over the sorted ones under `audio_dir`; all where there are no more."""
    found = find_recordings(audio_dir)
    count = min(num_clips, len(found))
    chosen = [found[position * len(found) // count] for position in range(count)]
    if len({audio_id_of(path.name) for path in chosen}) < count:
        raise DesedTaskError(f"{audio_dir}: two recordings have the same name; name a folder where they differ")
    return chosen


def hear(listener: Listener, recordings: Sequence[Path]) -> dict[str, Scores]:
    """audio_id -> Scores, as recipes/evaluate.py has them."""
    return listener.scores((audio_id_of(path.name), read_waveform(path, listener.sample_rate)) for path in recordings)


def answer_of(scores: Scores, postprocessing: PostProcessing) -> Answer:
    """Scores -> what the service would say."""
    return Answer(
        tuple((e.event_label, e.onset, e.offset, e.score or 0.0) for e in postprocessing.detect(scores)),
        tuple(postprocessing.tags(scores)),
    )


def compare(
    served: Mapping[str, Answer],
    bundle: Mapping[str, Scores],
    checkpoint: Mapping[str, Scores],
    postprocessing: PostProcessing,
) -> Agreement:
    """Service against bundle, bundle against checkpoint."""
    answers = {audio_id: answer_of(scores, postprocessing) for audio_id, scores in bundle.items()}
    differences = [
        difference
        for audio_id in bundle
        for difference in compare_events(audio_id, checkpoint[audio_id], bundle[audio_id], postprocessing)
    ]
    return Agreement(
        clips=len(bundle),
        clips_with_events=sum(bool(answer.events) for answer in answers.values()),
        exactly_equal_to_service=sum(answers[audio_id] == served[audio_id] for audio_id in bundle),
        largest_score_difference=max(_largest_difference(checkpoint[name], bundle[name]) for name in bundle),
        events=sum(len(answer.events) for answer in answers.values()),
        differences=tuple(differences),
    )


def compare_events(
    audio_id: str, checkpoint: Scores, bundle: Scores, postprocessing: PostProcessing
) -> list[Difference]:
    """The classes whose events differ; explained where every changed decision has a score at the threshold."""
    filtered = [postprocessing.filter(scores) for scores in (checkpoint, bundle)]
    frames = [scores.frame_values for scores in filtered]
    assert frames[0] is not None
    assert frames[1] is not None
    changed = decide(frames[0], postprocessing.thresholds) != decide(frames[1], postprocessing.thresholds)
    far = np.abs(frames[1].astype(np.float64) - np.asarray(postprocessing.thresholds)) > SCORE_TOLERANCE
    differences = []
    for position, label in enumerate(postprocessing.labels):
        ours, theirs = (_spans(postprocessing.detect_at(scores), label) for scores in filtered)
        if ours != theirs:
            explained = bool(changed[:, position].any() and not (changed & far)[:, position].any())
            differences.append(Difference(audio_id, label, ours, theirs, explained))
    return differences


@contextmanager
def running_service(bundle: Path) -> Iterator[str]:
    """The address of `python -m serving` with `bundle`, a process of its own on a free port, while it runs."""
    with tempfile.TemporaryDirectory() as folder:
        port_file = Path(folder) / "port"
        command = [sys.executable, "-m", "serving", "--bundle", str(bundle), "--port", "0", "--device", "cpu"]
        process = subprocess.Popen([*command, "--port-file", str(port_file)], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not port_file.is_file():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise DesedTaskError(f"the service did not start with {bundle}; its message stands above")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{int(port_file.read_text(encoding='utf-8'))}"
        finally:
            process.terminate()
            process.wait(timeout=60)


def ask(url: str, recording: Path) -> Answer:
    """The service's answer to the bytes of a recording."""
    request = urllib.request.Request(f"{url}/v1/events", data=recording.read_bytes(), method="POST")
    with urllib.request.urlopen(request, timeout=60) as response:
        document: dict[str, Any] = json.load(response)
    return Answer(
        tuple((event["label"], event["onset"], event["offset"], event["score"]) for event in document["events"]),
        tuple((tag["label"], tag["score"]) for tag in document["tags"]),
    )


def _spans(events: Sequence[Event], label: str) -> tuple[tuple[float, float], ...]:
    return tuple((event.onset, event.offset) for event in events if event.event_label == label)


def _largest_difference(one: Scores, other: Scores) -> float:
    assert one.frame_values is not None
    assert other.frame_values is not None
    frames = np.abs(one.frame_values - other.frame_values).max()
    return max(float(frames), float(np.abs(one.clip_values - other.clip_values).max()))


def _summary(agreement: Agreement) -> str:
    explained = sum(difference.explained for difference in agreement.differences)
    lines = [
        f"clips                                    {agreement.clips}",
        f"clips with events                        {agreement.clips_with_events} ({agreement.events} events)",
        f"bundle equals the service exactly        {agreement.exactly_equal_to_service} of {agreement.clips} clips",
        f"largest score difference from checkpoint {agreement.largest_score_difference:.2g}",
        f"classes of clips with other events       {len(agreement.differences)}, of which explained {explained}",
    ]
    lines += [f"  {asdict(difference)}" for difference in agreement.differences]
    return "\n".join([*lines, "agreed" if agreement.holds else "DISAGREED"])


def _rows(agreement: Agreement) -> list[dict[str, Any]]:
    """The comparison as benchmark rows; a ratio of 1 or more is as good as asked, or better."""
    difference = agreement.largest_score_difference
    equal, unexplained = agreement.exactly_equal_to_service, sum(not each.explained for each in agreement.differences)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, no GPU"
    keys = ("name", "value", "unit", "peer", "peer_value", "ratio")
    figures = (
        ("equal to the service", equal, "clips", "clips posted", agreement.clips, equal / agreement.clips),
        ("clips with events", agreement.clips_with_events, "clips", None, None, None),
        ("events", agreement.events, "events", None, None, None),
        (
            "score difference",
            difference,
            "probability",
            "allowed",
            SCORE_TOLERANCE,
            SCORE_TOLERANCE / (difference or 1),
        ),
        ("unexplained differences", unexplained, "classes of clips", "allowed", 0, None),
    )
    return [{**dict(zip(keys, (f"parity {row[0]}", *row[1:]), strict=True)), "machine": machine} for row in figures]


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Compare a checkpoint, its bundle and the service on the same recordings.")
    parser.add_argument("--checkpoint", type=Path, required=True, help="what the bundle was exported from")
    parser.add_argument("--model", choices=("student", "teacher"), help="which of its models (the student)")
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--audio_dir", type=Path, required=True, help="folder of the recordings, subfolders too")
    parser.add_argument("--num_clips", type=int, default=50, help="how many of them, evenly spread")
    parser.add_argument("--json", type=Path, help="file that receives the comparison")
    return parser


if __name__ == "__main__":
    run_recipe(main)
