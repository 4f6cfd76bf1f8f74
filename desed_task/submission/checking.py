"""The systems and runs of a submission, each read and checked.

What cannot be right is added to the faults: raw scores without post-processed ones, two folders for the same thing,
runs of one system on different classes or clips or of different confs, a label that is not its folder's. What is only
incomplete becomes a note: missing clips, fewer than three runs, no meta, no energy, scores that are no fractions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from desed_task.events import EventTable
from desed_task.submission.energy import SystemEnergy, energy_of
from desed_task.submission.evaluation_set import EvaluationSet
from desed_task.submission.event_lists import check_event_list
from desed_task.submission.faults import Faults
from desed_task.submission.layouts import FoundSystem, Kind, Output, is_label
from desed_task.submission.meta import Meta, read_meta
from desed_task.submission.operating_points import check_points
from desed_task.submission.score_folders import Memory, ScoreFolder, check_score_folder
from desed_task.submission.trainings import differing_confs

NUM_RUNS = 3


@dataclass(frozen=True, eq=False)
class SubmittedRun:
    """One training of a system. What it did not submit is None; scores are read when they are asked for.

    clips: the audio_ids that are evaluated; clips_expected: how many the set has.
    """

    name: str
    scores: ScoreFolder | None
    raw_scores: ScoreFolder | None
    points: Mapping[float, EventTable] | None
    events: EventTable | None
    clips: tuple[str, ...]
    clips_expected: int
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SubmittedSystem:
    """A system and its runs. `notes`: what is incomplete about the system, beside the notes of its runs."""

    label: str
    runs: tuple[SubmittedRun, ...]
    meta: Meta | None
    notes: tuple[str, ...]
    energy: SystemEnergy


@dataclass(frozen=True, eq=False)
class Submission:
    """The systems that one path holds."""

    path: Path
    systems: tuple[SubmittedSystem, ...]


def check_system(
    found: FoundSystem, root: Path, evaluation_set: EvaluationSet, faults: Faults, memory: Memory
) -> SubmittedSystem:
    """Read and check all outputs of a system, its meta and its energy; `root`: the folder of the submission."""
    meta = _check_meta(found, faults)
    energy = SystemEnergy()
    with faults.collecting():
        energy = energy_of(found, meta, root)
    difference = differing_confs(found, root)
    if difference is not None:
        faults.add(difference)
    runs = []
    for name, outputs in _by_run(found, faults).items():
        _require_processed(name, outputs, found, faults)
        runs.append(_check_run(name, outputs, evaluation_set, faults, memory))
    folders = [run.scores for run in runs if run.scores is not None]
    for folder in folders[1:]:
        _require_alike(folder, folders[0], faults)
    return SubmittedSystem(found.label, tuple(runs), meta, tuple(_system_notes(found, runs, meta, energy)), energy)


def _check_meta(found: FoundSystem, faults: Faults) -> Meta | None:
    meta: Meta | None = None
    if found.meta is None:
        return meta
    with faults.collecting():
        meta = read_meta(found.meta)
        if is_label(found.label) and meta.label != found.label:
            faults.add(f"{found.meta}: submission.label {meta.label!r} is not the folder's {found.label!r}; rename one")
    return meta


def _by_run(found: FoundSystem, faults: Faults) -> dict[str, dict[Kind, Output]]:
    """run -> its outputs, one of each kind."""
    runs: dict[str, dict[Kind, Output]] = {}
    for output in found.outputs:
        words = output.words if found.folder is not None else ()
        name = " ".join([*words, output.run] if output.run else words) or found.label
        first = runs.setdefault(name, {}).setdefault(output.kind, output)
        # The baselines write the same operating points once for each scenario.
        same_points = output.kind == "points" and "scenario2" in output.place.parts
        if first is not output and not same_points:
            faults.add(f"{output.place}: {first.place} holds the same of the run {name}; remove or rename one")
    return runs


def _require_processed(name: str, outputs: Mapping[Kind, Output], found: FoundSystem, faults: Faults) -> None:
    """Raw scores alone are scored only where their folder itself was submitted."""
    if "raw_scores" in outputs and "scores" not in outputs and (found.folder is not None or len(found.outputs) > 1):
        place = outputs["raw_scores"].place
        faults.add(f"{place}: raw scores of the run {name} without post-processed ones; add them")


def _check_run(
    name: str, outputs: Mapping[Kind, Output], evaluation_set: EvaluationSet, faults: Faults, memory: Memory
) -> SubmittedRun:
    notes: list[str] = list(evaluation_set.notes)
    scores = raw_scores = points = events = None
    evaluated = outputs.get("scores") or outputs.get("raw_scores")
    if evaluated is not None:
        scores = check_score_folder(evaluated.place, evaluation_set, faults, memory)
        if scores is not None:
            evaluation_set = replace(evaluation_set, score_labels=scores.labels.names)
    if "scores" in outputs and "raw_scores" in outputs:
        raw_scores = check_score_folder(outputs["raw_scores"].place, evaluation_set, faults, Memory(0))
        _require_alike(raw_scores, scores, faults)
    if "points" in outputs:
        checked = check_points(outputs["points"].paths, evaluation_set, faults)
        if checked is not None:
            points, padded = checked
            notes += _padding_note(padded, "events of the operating points")
    if "events" in outputs:
        found = check_event_list(outputs["events"].place, evaluation_set, faults)
        if found is not None:
            events = found.table
            notes += _padding_note(found.padded, "events")
    clips = tuple(evaluation_set.seconds_of)
    if scores is not None and events is None and not 0.0 <= scores.lowest <= scores.highest <= 1.0:
        notes.append(
            f"scores from {scores.lowest:.3g} to {scores.highest:.3g}, not within 0 and 1: F1s at one threshold are "
            "arbitrary (PSDS and best F1s are not); submit decisions, or name a --threshold"
        )
    if scores is not None:
        clips = tuple(audio_id for audio_id in clips if audio_id in scores)
        notes = [*_score_notes(scores, len(clips), evaluation_set), *notes]
    return SubmittedRun(name, scores, raw_scores, points, events, clips, len(evaluation_set.seconds_of), tuple(notes))


def _score_notes(scores: ScoreFolder, present: int, evaluation_set: EvaluationSet) -> list[str]:
    notes = []
    expected = len(evaluation_set.seconds_of)
    if present != expected:
        notes.append(f"{present} of {expected} files present: not comparable with published numbers")
    notes += _padding_note(scores.padded, "score tables")
    extra = [label for label in scores.labels if label not in evaluation_set.truth_labels]
    if extra:
        notes.append(f"{len(extra)} classes of the scores have no event in the ground truth, such as {extra[0]}")
    return notes


def _padding_note(padded: int, what: str) -> list[str]:
    return [f"{padded} {what} pass the end of their clip; they count as they are"] if padded else []


def _system_notes(found: FoundSystem, runs: list[SubmittedRun], meta: Meta | None, energy: SystemEnergy) -> list[str]:
    if found.folder is None:
        return []
    notes = []
    if len(runs) < NUM_RUNS:
        notes.append(f"{len(runs)} of {NUM_RUNS} runs present: the challenge's figures are means over {NUM_RUNS}")
    notes += [f"{path.name}: no section `submission`, so it is no meta and was not read" for path in found.no_metas]
    if meta is None:
        unknown = "MACs and parameters" if energy.is_known else "energy, MACs and parameters"
        notes.append(f"no meta YAML: {unknown} are not known")
    elif energy.training is None or energy.test is None:
        notes.append(
            "neither meta YAML nor CodeCarbon's tables give the energy of training and test: no energy-weighted scores"
        )
    if energy.sources:
        notes.append(f"energy read from {', '.join(energy.sources)}")
    return notes


def _require_alike(folder: ScoreFolder | None, first: ScoreFolder | None, faults: Faults) -> None:
    """The same classes and the same clips in both folders."""
    if folder is None or first is None:
        return
    if folder.labels != first.labels:
        other = sorted(set(folder.labels) ^ set(first.labels)) or list(folder.labels)
        faults.add(
            f"{folder.folder}: other classes than in {first.folder}, such as {other[0]!r}, or in another order; write "
            "all scores of a system with the same classes"
        )
    differing = sorted(set(folder) ^ set(first))
    if differing:
        without, having = (first, folder) if differing[0] in folder else (folder, first)
        faults.add(
            f"{without.folder}: no table of {differing[0]}, which {having.folder} has ({len(differing)} clips differ); "
            "score the same clips in all runs of a system"
        )
