"""Add labels that clips should have had: missing children and ancestors that a model hears (PSLA's label enhancement).

    python recipes/enhance_labels.py --data_path fsd50k_tr_full.json --label_csv class_labels_indices.csv \\
        --ontology ontology.json --predictions fold1/scores.npz fold2/scores.npz fold3/scores.npz
    python recipes/enhance_labels.py --data_path train.json --label_csv class_labels_indices.csv \\
        --ontology ontology.json --predictions predictions.csv --in_sample --thresholds mean median 25 10 5
    python recipes/enhance_labels.py --data_path train.json --label_csv ... --ontology ... --upper_bounds

--predictions: clip scores (.npz) that say what models say of clips that they have not seen (cross-fitted): several
files, each of the part that one training held out for validation, or one file with `folds`. Or PSLA's predictions.csv,
rows in the order of the list. Predictions of models that saw the clips confirm the labels that they were trained on, so
they are taken with --in_sample only. Written beside the list, or to --output_dir, for
each threshold p and each t of type1, type2 and type1_2:

    <list>_<t>_<p>.json (or .csv)   the list with more labels, sorted
    <list>_<t>_<p>_weight.csv       its sampling weights
    <list>_enhancement_<p>.csv      per class: threshold, labels before, added by each type
    <list>_label_errors.csv         per pair of child and parent: clips with the child, and without the parent
    <list>_<t>_<p>_soft.npz         with --soft: targets in which an added label weighs what the model says of it
"""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from desed_task.command_line import RecipeParser, run_recipe, show
from desed_task.data.corpora.class_tables import ClassTable, read_class_table
from desed_task.errors import DesedTaskError, OptionsError
from desed_task.formats.clip_scores import CLIP_SCORES_SUFFIX, ClipScores, read_clip_scores, write_clip_scores
from desed_task.formats.whole_files import write_csv, write_text
from desed_task.labelling.class_balance import sampling_weights
from desed_task.labelling.enhancement import (
    FSD50K_SKIPPED,
    THRESHOLDS,
    Enhancement,
    Probs,
    Threshold,
    class_thresholds,
    enhance,
    label_errors,
    soft_targets,
)
from desed_task.labelling.label_lists import LabelList, read_label_list
from desed_task.labelling.ontology import ClassGraph, read_ontology
from desed_task.labelling.pairs import LabelPairs, pair_labels
from desed_task.labelling.prediction_rows import read_prediction_rows, require_targets
from desed_task.labelling.weight_files import weight_path, write_weights
from desed_task.labels import LabelSet

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Job:
    """What is enhanced, by what, and where the results go."""

    clips: LabelList
    labels: LabelPairs
    table: ClassTable
    graph: ClassGraph
    skipped: tuple[int, ...]
    folder: Path

    def path(self, ending: str) -> Path:
        return self.folder / f"{self.clips.stem.name}{ending}"


def main(argv: Sequence[str]) -> int:
    """Read, enhance with every threshold that is asked for, write, print what was added."""
    arguments = _parser().parse_args(argv)
    job = _build_job(arguments)
    if arguments.upper_bounds:
        show(_counts("-inf", enhance(job.labels, job.graph, skipped=job.skipped)))
        return 0
    probs = _read_probs(arguments, job) if set(arguments.thresholds) != {"none"} else None
    job.folder.mkdir(parents=True, exist_ok=True)
    _write_label_errors(job)
    for threshold in dict.fromkeys(arguments.thresholds):
        if threshold == "none" or probs is None:
            weights = sampling_weights(job.clips.labels, len(job.table.mids))
            write_weights(weights, job.path("_weight.csv"))
            continue
        _enhance_at(threshold, probs, job, arguments.soft)
    _LOG.info("written to %s", job.folder)
    return 0


def _enhance_at(threshold: Threshold, probs: Probs, job: _Job, soft: bool) -> None:
    limits = class_thresholds(probs, job.labels, threshold)
    enhancement = enhance(job.labels, job.graph, probs, limits, job.skipped)
    for kind, added in enhancement.added.items():
        whole = job.labels.union(added).per_clip()
        path = job.path(f"_{kind}_{threshold}{job.clips.path.suffix}")
        write_text(job.clips.text_with(whole, job.table.mids, job.table.names), path)
        write_weights(sampling_weights(whole, len(job.table.mids)), weight_path(path))
        if soft:
            targets = soft_targets(job.labels, added, probs)
            scores = ClipScores(job.clips.audio_ids, targets, LabelSet(job.table.names))
            write_clip_scores(scores, path.with_name(f"{path.stem}_soft{CLIP_SCORES_SUFFIX}"))
    _write_class_report(enhancement, limits, threshold, job)
    show(_counts(threshold, enhancement))


def _build_job(arguments: Namespace) -> _Job:
    table = read_class_table(arguments.label_csv)
    if not table.mids:
        raise OptionsError(f"--label_csv {arguments.label_csv}: has no mids; name class_labels_indices.csv")
    skipped = [mid for word in arguments.skip for mid in (FSD50K_SKIPPED if word == "fsd50k" else (word,))]
    unknown = [mid for mid in skipped if mid not in table.mids]
    if unknown:
        raise OptionsError(f"--skip {unknown[0]}: no mid of {arguments.label_csv}; leave it out")
    graph = read_ontology(arguments.ontology).restrict(table.mids, arguments.abstract)
    if graph.unknown:
        _LOG.warning("%d classes are not in the ontology, such as %s", len(graph.unknown), graph.unknown[0])
    clips = read_label_list(arguments.data_path, table.mids)
    return _Job(
        clips,
        pair_labels(clips.labels, len(table.mids)),
        table,
        graph,
        tuple(table.mids.index(mid) for mid in skipped),
        arguments.output_dir or arguments.data_path.parent,
    )


def _read_probs(arguments: Namespace, job: _Job) -> Probs:
    """(clips, classes) in the order of the list and of the table of classes."""
    paths: list[Path] = arguments.predictions or []
    if not paths:
        raise OptionsError("--predictions: name the model's predictions on the list, or ask for --upper_bounds")
    text = [path for path in paths if path.suffix.lower() != CLIP_SCORES_SUFFIX]
    if not text:
        if arguments.target is not None:
            raise OptionsError("--target: belongs to predictions.csv; an npz names its clips")
        return _read_clip_scores(paths, job, arguments.in_sample)
    if len(paths) > 1:
        raise OptionsError(f"--predictions {text[0]}: rows of text do not name their clips; give them alone")
    if not arguments.in_sample:
        raise OptionsError(
            f"--predictions {text[0]}: rows of text do not say that their model had not seen the clips; give "
            f"cross-fitted predictions (.npz), or --in_sample to take these as published"
        )
    if arguments.target is not None:
        require_targets(arguments.target, job.labels)
    return read_prediction_rows(text[0], len(job.clips), len(job.table.mids))


def _read_clip_scores(paths: Sequence[Path], job: _Job, in_sample: bool) -> NDArray[np.float32]:
    """Of one file with folds, or of a file per fold."""
    parts = [_in_columns(read_clip_scores(path), path, job) for path in paths]
    if not in_sample and len(parts) == 1:
        _require_folds(parts[0], paths[0])
    row_of: dict[str, NDArray[np.float32]] = {}
    for part, path in zip(parts, paths, strict=True):
        both = row_of.keys() & set(part.audio_ids)
        if both:
            raise OptionsError(
                f"--predictions {path}: clip {min(both)!r} is also in a file before; each clip belongs to the fold "
                f"whose model had not seen it"
            )
        row_of.update(part.by_audio_id())
    missing = [audio_id for audio_id in job.clips.audio_ids if audio_id not in row_of]
    if missing:
        raise OptionsError(
            f"--predictions: no scores of clip {missing[0]!r} ({len(missing)} clips of {job.clips.path} lack them); "
            f"predict all of them"
        )
    return np.stack([row_of[audio_id] for audio_id in job.clips.audio_ids])


def _require_folds(scores: ClipScores, path: Path) -> None:
    folds = 0 if scores.folds is None else len(np.unique(scores.folds))
    if folds < 2:
        why = "has no folds" if folds == 0 else "is of a single fold"
        raise OptionsError(
            f"--predictions {path}: {why}, so it does not say that its models had not seen the clips; give a file per "
            f"fold, or --in_sample to take this as published"
        )


def _in_columns(scores: ClipScores, path: Path, job: _Job) -> ClipScores:
    """The classes of the table, under their mids or their names."""
    columns = job.table.mids if job.table.mids[0] in scores.labels else job.table.names
    try:
        return scores.with_labels(LabelSet(columns))
    except DesedTaskError as error:
        raise OptionsError(f"--predictions {path}: {error}; predict with the classes of --label_csv") from None


def _write_class_report(enhancement: Enhancement, limits: NDArray[np.float64], threshold: Threshold, job: _Job) -> None:
    before = job.labels.class_counts()
    added = {kind: pairs.class_counts() for kind, pairs in enhancement.added.items()}
    rows = [
        (
            *(index, mid, name, before[index], "" if np.isnan(limits[index]) else f"{limits[index]:.9g}"),
            *(counts[index] for counts in added.values()),
            before[index] + added["type1_2"][index],
        )
        for index, (mid, name) in enumerate(zip(job.table.mids, job.table.names, strict=True))
    ]
    header = ("index", "mid", "display_name", "clips", "threshold", *(f"added_{kind}" for kind in added), "clips_after")
    write_csv([header, *rows], job.path(f"_enhancement_{threshold}.csv"))


def _write_label_errors(job: _Job) -> None:
    errors = label_errors(job.labels, job.graph)
    mids, names = job.table.mids, job.table.names
    columns = zip(errors.child, errors.parent, errors.num_clips, errors.num_without_parent, strict=True)
    rows = [(mids[c], names[c], mids[p], names[p], clips, without) for c, p, clips, without in columns]
    header = ("mid", "display_name", "parent_mid", "parent_name", "clips", "clips_without_parent")
    write_csv([header, *rows], job.path("_label_errors.csv"))


def _counts(threshold: str, enhancement: Enhancement) -> str:
    before = len(enhancement.original)
    parts = [
        f"{kind} {before + len(added)} (+{100 * len(added) / max(before, 1):.1f} %)"
        for kind, added in enhancement.added.items()
    ]
    return f"threshold {threshold}: {before} labels -> {', '.join(parts)}"


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Add missing labels of ancestors and children that a model hears.")
    add = parser.add_argument
    add(
        "--data_path",
        "--datafile_path",
        type=Path,
        required=True,
        help="the list: a json with wav and labels, or dev.csv of FSD50K (of which the split train is enhanced)",
    )
    add("--label_csv", "--label_indices_path", type=Path, required=True, help="class_labels_indices.csv of the list")
    add("--ontology", type=Path, required=True, help="AudioSet's ontology.json")
    add(
        "--predictions",
        type=Path,
        nargs="+",
        help="cross-fitted: one .npz per fold, or one with folds; or predictions.csv with --in_sample",
    )
    add("--target", type=Path, help="target.csv beside predictions.csv: checks that the rows are those of the list")
    add("--in_sample", action="store_true", help="take predictions of models that may have seen the clips")
    add("--thresholds", nargs="+", choices=THRESHOLDS, default=["mean"], help="of the probabilities on labelled clips")
    add(
        "--abstract",
        choices=("removed", "traversed"),
        default="removed",
        help="abstract nodes of the ontology: as published, or descent goes on over them",
    )
    add(
        "--skip", nargs="+", default=[], metavar="MID", help="classes from which nothing is concluded; fsd50k: its five"
    )
    add("--soft", action="store_true", help="also write targets with the probabilities of added labels")
    add("--upper_bounds", action="store_true", help="only print how many labels there would be at threshold -inf")
    add("--output_dir", type=Path, help="where to write (beside the list)")
    return parser


if __name__ == "__main__":
    run_recipe(main)
