"""Evaluate a bundle or a checkpoint on annotated recordings: detection on events, tagging on the classes of clips.

    python recipes/evaluate.py --bundle DIR --audio_dir D --ground_truth D.tsv --output_dir out
    python recipes/evaluate.py --checkpoint C --model teacher --audio_dir D --ground_truth D.tsv --output_dir out
    python recipes/evaluate.py --checkpoint exp/tagging/version_0 --manifest eval.csv --audio_dir D --output_dir out
    python recipes/evaluate.py --folder exp/tagging --conf_file confs/tagging/esc10.yaml --on fold4 --output_dir out
    python recipes/evaluate.py --ckpt_path C --eval_csv eval.csv --lbl_map lbl_map.json
    python recipes/evaluate.py --exp_dir exp --lmdb_path eval.lmdb --output_dir out --export_dir weights

A bundle is heard exactly as the service hears it, unless --postprocessing names other filters and thresholds (those of
tune_postprocessing.py). With --ground_truth, a table of events, every figure of detection is computed (what is written:
desed_task/runs/detection_evaluation.py); --reference scores with psds_eval, sed_eval and sed_scores_eval as well
(pip install "desed-task[reference]") and prints the differences, and why there may be any.

With --manifest (any table of recordings and classes: FSD50K's, a json of AudioSet, a manifest of chunks, an LMDB; see
desed_task/data/corpora/manifest_kinds.py) or a set of a --conf_file, mAP, mAUC and d' (what is written:
desed_task/runs/tagging_evaluation.py). --folder takes the best checkpoint of every run below it, a row of results.csv
for each. --export_dir receives the weights of each tagger as a plain state dict, as GISE-51's scripts export them. Any
system can be evaluated as a tagger, and one with frame scores as a detector.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from desed_task.command_line import RecipeParser, add_scaler_range, run_recipe, scaler_range_of, whole_number
from desed_task.data.corpora.manifest_kinds import corpus_of_table
from desed_task.errors import DesedTaskError, OptionsError
from desed_task.listening import Listener, open_bundle, open_checkpoint
from desed_task.runs.detection_evaluation import evaluate_detector
from desed_task.runs.tagging_evaluation import Crop, is_in_pieces
from desed_task.runs.tagging_evaluations import corpus_of_conf, evaluate_all, find_runs

_LOG = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Score every recording, write and print the report."""
    arguments = _parser().parse_args(argv)
    _require_consistent(arguments)
    code = 0
    if arguments.ground_truth is not None:
        listener = _open(arguments, arguments.bundle or arguments.checkpoint)
        if arguments.postprocessing is not None:
            listener = listener.with_postprocessing(arguments.postprocessing)
        evaluate_detector(
            listener,
            arguments.audio_dir,
            arguments.ground_truth,
            arguments.durations,
            arguments.output_dir,
            arguments.reference,
        )
    else:
        code = _evaluate_tags(arguments)
    if arguments.output_dir is not None:
        _LOG.info("report: %s", arguments.output_dir)
    return code


def _evaluate_tags(arguments: Namespace) -> int:
    if arguments.manifest is not None:
        corpus = corpus_of_table(arguments.manifest, arguments.audio_dir, arguments.label_csv, arguments.delimiter)
    else:
        corpus = corpus_of_conf(arguments.conf_file, arguments.on)
    if arguments.folder is not None:
        systems = find_runs(arguments.folder)
    else:
        path = arguments.bundle or arguments.checkpoint
        systems = {path.name: path}
    return evaluate_all(
        {name: (path, partial(_open, arguments, path, is_in_pieces(corpus))) for name, path in systems.items()},
        corpus,
        Crop(arguments.crop_seconds, arguments.crop),
        arguments.output_dir,
        arguments.lbl_map,
        arguments.top_k,
        apart=arguments.folder is not None,
        export=arguments.export_dir,
    )


def _open(arguments: Namespace, path: Path, pieces: bool = False) -> Listener:
    if arguments.bundle is not None:
        return open_bundle(path, arguments.device, pieces)
    return open_checkpoint(path, arguments.model, arguments.device, scaler_range_of(arguments), pieces)


def _require_consistent(arguments: Namespace) -> None:
    """DesedTaskError for flags that do nothing beside the others, or that lack one."""
    if arguments.model is not None and arguments.bundle is not None:
        raise DesedTaskError("--model chooses a model of a checkpoint; a bundle holds only one")
    if arguments.scaler_range is not None and arguments.bundle is not None:
        raise DesedTaskError("--scaler_range is of a published checkpoint; a bundle knows its own")
    for flag, folder in (("output_dir", arguments.output_dir), ("export_dir", arguments.export_dir)):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise DesedTaskError(f"--{flag} {folder}: stands there and is no folder; name another")
    if arguments.export_dir is not None and arguments.bundle is not None:
        raise DesedTaskError("--export_dir: weights are of a checkpoint; a bundle holds a graph")
    if arguments.export_weights and arguments.export_dir is None:
        raise OptionsError("--export_weights: name the folder that receives them (--export_dir)")
    events, given = arguments.ground_truth is not None, vars(arguments)
    idle = _OF_TAGS if events else _OF_EVENTS
    useless = next((flag for flag in idle if given[flag]), None)
    if useless is not None:
        beside = "--ground_truth" if events else "--manifest and --conf_file"
        raise OptionsError(f"--{useless}: does nothing beside {beside}; leave it out")
    needed = {"output_dir": events or arguments.folder is not None, "audio_dir": events}
    lacking = next((flag for flag, asked in needed.items() if asked and given[flag] is None), None)
    if lacking is not None:
        raise OptionsError(f"--{lacking}: missing; name the folder")
    if arguments.conf_file is None and arguments.on is not None:
        raise OptionsError("--on: names a set of --conf_file, which is missing")
    if arguments.conf_file is not None and (arguments.audio_dir is not None or arguments.label_csv is not None):
        raise OptionsError("--audio_dir and --label_csv: the sets of --conf_file say where they are; leave them out")


_OF_EVENTS = ("durations", "postprocessing", "reference")
_OF_TAGS = ("folder", "on", "lbl_map", "label_csv", "crop_seconds", "top_k", "export_dir")


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Evaluate a bundle or a checkpoint on annotated recordings.")
    add = parser.add_argument
    system = parser.add_mutually_exclusive_group(required=True)
    system.add_argument("--bundle", type=Path, help="folder of a bundle")
    system.add_argument("--checkpoint", "--ckpt_path", type=Path, help="checkpoint, a published one, or a run folder")
    system.add_argument("--folder", "--exp_dir", type=Path, help="every best checkpoint of the runs below")
    truth = parser.add_mutually_exclusive_group(required=True)
    truth.add_argument("--ground_truth", type=Path, help="events: table filename onset offset event_label")
    truth.add_argument(
        "--manifest", "--eval_csv", "--lmdb_path", type=Path, help="classes of clips: .csv, .tsv, .json or .lmdb"
    )
    truth.add_argument("--conf_file", type=Path, help="classes of clips: a set of this tagging conf")
    add("--on", metavar="SET", help="which set of --conf_file (the first of data.evaluation)")
    add("--audio_dir", type=Path, help="folder of the recordings (of a manifest, that of the table)")
    add("--label_csv", "--classes", type=Path, help="class_labels_indices.csv of a manifest with mids")
    add("--delimiter", default=",", help="between the labels of a clip of an LMDB (a comma; AudioSet's: ;)")
    add("--lbl_map", type=Path, help="the classes that the system must have, in their order")
    add("--crop_seconds", type=float, help="hear so much of a longer recording (all of it)")
    add("--crop", choices=("centre", "beginning"), default="centre", help="which part --crop_seconds takes")
    add("--top_k", type=whole_number(1), help="tags of a recording in tags.tsv (all)")
    add("--model", choices=("student", "teacher"), help="which model of a detector's checkpoint (the student)")
    add("--durations", type=Path, help="table filename duration (default: those of the recordings)")
    add("--output_dir", type=Path, help="folder that receives the report")
    add("--export_dir", type=Path, help="folder that receives the weights of each tagger, named by its figures")
    add("--export_weights", action="store_true", help="of the published scripts; --export_dir is enough")
    add("--postprocessing", type=Path, help="tuned.yaml in place of the system's own post-processing")
    add("--device", default="auto", help="auto, cpu or cuda:N")
    add("--reference", action="store_true", help="score with the published scorers, too, side by side")
    add_scaler_range(parser)
    return parser


if __name__ == "__main__":
    run_recipe(main)
