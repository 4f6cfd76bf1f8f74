"""A detector, bundle or checkpoint, evaluated on recordings with events: every figure of a report, and what was heard.

Every clip of the ground truth is scored; those without a recording are counted and left out. Written beside the report
(see metrics/report_files.py), with every digit of every number:

    events.tsv   filename  onset  offset  event_label  score      the detected events
    tags.tsv     filename  event_label  score                     every class of every clip
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from desed_task.audio.reading import Waveform, read_waveform
from desed_task.command_line import show
from desed_task.errors import CorpusError, DesedTaskError
from desed_task.events import EventTable, audio_id_of
from desed_task.formats.dcase import read_durations, read_strong
from desed_task.listening import Listener
from desed_task.metrics.report import Report, evaluate
from desed_task.metrics.report_files import write_report
from desed_task.metrics.report_tables import format_table
from desed_task.scores import Scores

_LOG = logging.getLogger(__name__)


def evaluate_detector(
    listener: Listener,
    audio_dir: Path,
    ground_truth: Path,
    durations_table: Path | None,
    output_dir: Path,
    with_reference: bool = False,
) -> None:
    """Score every recording, write and print the report. with_reference: also what the published scorers say."""
    truth = read_strong(ground_truth, listener.postprocessing.labels)
    audio_ids = list(truth.by_audio_id())
    durations = None if durations_table is None else read_durations(durations_table)
    recordings = _find_recordings(truth.filenames, audio_dir)
    scores = listener.scores(_waveforms(recordings, listener.sample_rate))
    if durations is None:
        durations = {filename: scores[audio_id_of(filename)].duration for filename in recordings}
    report = evaluate(scores, truth, durations, listener.postprocessing, files_expected=len(audio_ids))
    by_filename = {filename: scores[audio_id_of(filename)] for filename in recordings}
    output_dir.mkdir(parents=True, exist_ok=True)
    _write_events(output_dir / "events.tsv", by_filename, listener)
    _write_tags(output_dir / "tags.tsv", by_filename, listener)
    write_report(report, output_dir)
    show(format_table({listener.name: report}))
    if with_reference:
        show(_side_by_side(report, truth, durations))


def _side_by_side(report: Report, truth: EventTable, durations: Mapping[str, float]) -> str:
    """Every figure beside those of the published scorers."""
    # pandas and the scorers are loaded only when they are asked for
    from desed_task.metrics.reference import compare, format_comparison

    evidence = report.evidence
    if evidence is None:
        raise DesedTaskError("--reference: the scores have no frames, and the published scorers need them")
    return format_comparison(
        compare(
            report.to_json(),
            truth,
            {filename: seconds for filename, seconds in durations.items() if filename in evidence.detections.filenames},
            scores={audio_id: clip.table() for audio_id, clip in evidence.filtered_scores.items()},
            points=evidence.operating_points,
            detections=evidence.detections,
        )
    )


def _find_recordings(filenames: Iterable[str], audio_dir: Path) -> dict[str, Path]:
    """filename -> path of every recording that is there; a warning says how many are not, CorpusError when all."""
    if not audio_dir.is_dir():
        raise CorpusError(f"--audio_dir {audio_dir}: no such folder")
    paths = {filename: audio_dir / filename for filename in filenames}
    present = {filename: path for filename, path in paths.items() if path.is_file()}
    missing = [filename for filename in paths if filename not in present]
    if not present:
        first = f", such as {missing[0]}" if missing else ""
        raise CorpusError(f"{audio_dir}: holds none of the {len(paths)} recordings of the ground truth{first}")
    if missing:
        _LOG.warning(
            "%s: %d of %d recordings are missing, the first %s", audio_dir, len(missing), len(paths), missing[0]
        )
    return present


def _waveforms(recordings: Mapping[str, Path], sample_rate: int) -> Iterator[tuple[str, Waveform]]:
    for filename, path in tqdm(recordings.items(), unit="clip", disable=None):
        yield audio_id_of(filename), read_waveform(path, sample_rate)


def _write_events(path: Path, scores: Mapping[str, Scores], listener: Listener) -> None:
    rows = [
        (filename, repr(event.onset), repr(event.offset), event.event_label, repr(event.score))
        for filename, of_clip in scores.items()
        for event in listener.postprocessing.detect(of_clip)
    ]
    _write_rows(path, ("filename", "onset", "offset", "event_label", "score"), rows)


def _write_tags(path: Path, scores: Mapping[str, Scores], listener: Listener) -> None:
    rows = [
        (filename, label, repr(score))
        for filename, of_clip in scores.items()
        for label, score in listener.postprocessing.tags(of_clip)
    ]
    _write_rows(path, ("filename", "event_label", "score"), rows)


def _write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
        writer.writerow(columns)
        writer.writerows(rows)
    partial.replace(path)
