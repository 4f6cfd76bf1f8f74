"""A system, tagger or detector, bundle or checkpoint, evaluated on any list of recordings with their classes.

Written for each, scores and tags with every digit:

    report.json, per_class.csv   see metrics/tag_report_files.py
    scores.npz                   see formats/clip_scores.py
    tags.tsv                     filename  event_label  score     of every class, or the best

Recordings are heard as when they are served; `Crop` takes a part of the longer ones, as some published evaluations do.
Of a manifest of chunks each chunk is heard by itself, once, and the scores of a recording's chunks become its own by
the system's view, the mean of their logits as published.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from desed_task.audio.reading import Waveform
from desed_task.clips import ClipSet
from desed_task.data.corpora.chunks import recording_of
from desed_task.data.corpora.class_tables import read_class_names
from desed_task.data.corpora.tagging_corpora import TAGGING_CORPORA
from desed_task.data.decoding import decode_recordings
from desed_task.errors import CorpusError, OptionsError
from desed_task.formats.clip_scores import clip_scores_of, write_clip_scores
from desed_task.labels import LabelSet
from desed_task.listening import ClipProbs, Listener
from desed_task.metrics.tag_report import TagReport, evaluate_tags
from desed_task.metrics.tag_report_files import write_tag_report

CropFrom = Literal["centre", "beginning"]


@dataclass(frozen=True)
class Crop:
    """What is heard of a recording longer than `seconds`: its middle or its beginning. seconds None: all of it."""

    seconds: float | None = None
    of: CropFrom = "centre"

    def __post_init__(self) -> None:
        if self.seconds is not None and not self.seconds > 0:
            raise OptionsError(f"--crop_seconds {self.seconds:g}: must be more than 0; leave it out to hear everything")

    def cut(self, waveform: Waveform, sample_rate: int) -> Waveform:
        """(samples,) -> at most so many."""
        surplus = 0 if self.seconds is None else len(waveform) - max(1, round(self.seconds * sample_rate))
        if surplus <= 0:
            return waveform
        first = surplus // 2 if self.of == "centre" else 0
        return waveform[first : first + len(waveform) - surplus]


@dataclass(frozen=True)
class Evaluation:
    """What came of it. names: audio_id -> the recording's file name; probs: audio_id -> (classes,)."""

    report: TagReport
    labels: LabelSet
    names: Mapping[str, str]
    probs: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class _Truth:
    """tags: audio_id -> classes; names: audio_id -> file name; expected: recordings that the list names."""

    tags: Mapping[str, Sequence[str]]
    names: Mapping[str, str]
    expected: int


def is_in_pieces(corpus: Any) -> bool:
    """Whether the recordings of a corpus are windows cut before."""
    return bool(corpus.name == "chunks")


def require_classes(path: Path, labels: LabelSet) -> None:
    """OptionsError when the classes of a table (lbl_map.json ...) are not those of the system, in its order."""
    names = read_class_names(path)
    if names != labels.names:
        number = next((n for n, pair in enumerate(zip(names, labels, strict=False)) if pair[0] != pair[1]), None)
        where = (
            f"{len(names)} classes, not {len(labels)}"
            if number is None
            else f"class {number} is {names[number]!r}, not {labels.names[number]!r}"
        )
        raise OptionsError(f"{path}: its classes are not those of the system ({where}); name the map it came with")


def evaluate_on(listener: Listener, corpus: Any, crop: Crop) -> Evaluation:
    """Hear every recording of `corpus` (options of a tagging corpus) and score; CorpusError, AudioError as of it."""
    labels = listener.postprocessing.labels
    clip_set = TAGGING_CORPORA[corpus.name](corpus, "weak", labels)
    if not clip_set.clips:
        raise CorpusError(f"{clip_set.name}: none of its {clip_set.files_expected} recordings is there")
    heard = listener.clip_probs(_waveforms(clip_set, listener.sample_rate, crop))
    names = {clip.audio_id: clip.filename for clip in clip_set.clips}
    truth = _Truth(clip_set.tags, names, clip_set.files_expected)
    if is_in_pieces(corpus):
        heard, truth = _whole_recordings(heard, clip_set, listener)
    probs = {audio_id: of_clip.astype(np.float32) for audio_id, of_clip in heard.items()}
    report = evaluate_tags(probs, truth.tags, labels, files_expected=truth.expected)
    return Evaluation(report, labels, truth.names, probs)


def write_evaluation(evaluation: Evaluation, folder: Path, top_k: int | None = None) -> None:
    """Write everything (see the top of this file) into the folder, the report last. top_k: tags of a recording."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").unlink(missing_ok=True)
    write_clip_scores(clip_scores_of(evaluation.probs, evaluation.labels), folder / "scores.npz")
    _write_tags(evaluation, folder / "tags.tsv", top_k)
    write_tag_report(evaluation.report, folder)


def _waveforms(clip_set: ClipSet, sample_rate: int, crop: Crop) -> Iterator[tuple[str, Waveform]]:
    decoded = decode_recordings([clip.path for clip in clip_set.clips], sample_rate)
    progress = tqdm(clip_set.clips, desc=clip_set.name, unit="clip", disable=None)
    for clip, waveform in zip(progress, decoded, strict=True):
        yield clip.audio_id, crop.cut(waveform, sample_rate)


def _whole_recordings(
    heard: Mapping[str, ClipProbs], clip_set: ClipSet, listener: Listener
) -> tuple[dict[str, ClipProbs], _Truth]:
    """Chunks -> the recordings that they were cut from."""
    chunks: dict[str, list[str]] = {}
    for clip in clip_set.clips:
        chunks.setdefault(clip_set.groups[clip.audio_id], []).append(clip.audio_id)
    labels, view = listener.postprocessing.labels, listener.view
    pooled: dict[str, ClipProbs] = {}
    for recording, of_recording in chunks.items():
        # in their own precision, for which logits are had from probabilities
        rows: Any = np.stack([heard[chunk] for chunk in of_recording])
        pooled[recording] = view.stitch(None, rows, labels, 1).clip_values
    missing = {recording_of(path.stem) for path in clip_set.missing} - chunks.keys()
    tags = {recording: clip_set.tags[of[0]] for recording, of in chunks.items()}
    return pooled, _Truth(tags, {recording: recording for recording in chunks}, len(chunks) + len(missing))


def _write_tags(evaluation: Evaluation, path: Path, top_k: int | None) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
        writer.writerow(("filename", "event_label", "score"))
        for audio_id, probs in evaluation.probs.items():
            best = np.argsort(-probs, kind="stable")[:top_k]
            name = evaluation.names[audio_id]
            writer.writerows((name, evaluation.labels.names[place], repr(float(probs[place]))) for place in best)
    partial.replace(path)
