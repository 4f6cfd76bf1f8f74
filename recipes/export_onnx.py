"""Export the model of a checkpoint as a bundle: waveform in, probabilities out. Nothing is written unless torch agrees.

    python recipes/export_onnx.py --checkpoint exp/sed/version_0 --output bundles/mine
    python recipes/export_onnx.py --checkpoint exp/tagging/version_0 --output bundles/tagger
    python recipes/export_onnx.py --checkpoint C --output DIR --model teacher --audio recordings/
    python recipes/export_onnx.py --checkpoint C --output DIR --postprocessing out/tuned.yaml
    python recipes/export_onnx.py --checkpoint Cnn14.pth --conf_file confs/tagging/audioset_cnn14.yaml --output DIR

Real recordings (--audio) make the check stricter; without any, synthetic ones are heard. Taggers hear recordings in
chunks of one length, so their graphs are made for that length. So is that of a detector that listens to embeddings: one
graph with its embedders, whose weights must be there, those of stored embeddings too. A published tagger's file (PANNs,
AST, PSLA ...) holds weights alone: its classes and features, and how it hears recordings, are those of --conf_file,
whose data is not read.
"""

from __future__ import annotations

import json
import logging
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

from desed_task.audio.containers import find_recordings
from desed_task.audio.reading import read_waveform
from desed_task.bundle import MODEL_FILE, Bundle
from desed_task.chunking import Chunking, ClipPooling
from desed_task.command_line import RecipeParser, add_scaler_range, run_recipe, scaler_range_of, show
from desed_task.embedders.weights import described_weights
from desed_task.errors import OptionsError
from desed_task.export import export_bundle
from desed_task.listening import choose_model, load_any
from desed_task.options import read_options
from desed_task.postprocessing.pipeline import read_postprocessing
from desed_task.system import System, SystemOptions, build_ears
from desed_task.tagging import TaggingOptions, published_tagger
from desed_task.training.run_folder import code_version, find_checkpoint
from desed_task.views import View

_LOG = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Export, and print what was measured."""
    arguments = _parser().parse_args(argv)
    checkpoint = find_checkpoint(arguments.checkpoint)
    system = _load(arguments, checkpoint)
    model_name, model = choose_model(system, arguments.model, checkpoint)
    view = _view_of(system, arguments.clip_scores)
    tuned: Path | None = arguments.postprocessing
    postprocessing = system.options.postprocessing if tuned is None else read_postprocessing(tuned, system.labels)
    files = [file for place in arguments.audio for file in (find_recordings(place) if place.is_dir() else [place])]
    recordings = [read_waveform(file, system.grid.sample_rate) for file in files]
    bundle = Bundle(
        model_id=arguments.id or arguments.output.absolute().name,
        version=arguments.version,
        labels=system.labels,
        windowing=view,
        postprocessing=postprocessing,
        provenance=_provenance(system, checkpoint, model_name, tuned),
        fixed_view=isinstance(view, Chunking) or bool(system.options.embedders),
    )
    ears = build_ears(system.options, exportable=True)
    written = export_bundle(model, ears, system.ears, bundle, arguments.output, recordings)
    show(_summary(written, arguments.output))
    return 0


def _load(arguments: Namespace, checkpoint: Path) -> System[Any]:
    if arguments.conf_file is None:
        if arguments.set:
            raise OptionsError("--set: replaces a key of --conf_file, which is missing")
        return load_any(checkpoint, scaler_range_of(arguments))
    tagger, loaded = published_tagger(checkpoint, read_options(arguments.conf_file, TaggingOptions, arguments.set))
    _LOG.info("%s", loaded)
    return tagger


def _view_of(system: System[SystemOptions], clip_scores: ClipPooling | None) -> View:
    """How the system hears recordings, with another pooling of a tagger's chunks where one is asked for."""
    if clip_scores is None:
        return system.windowing
    if not isinstance(system.windowing, Chunking):
        raise OptionsError("--clip_scores: is of taggers; a detector's clip scores are the largest of its windows")
    return replace(system.windowing, clip_scores=clip_scores)


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Export the model of a checkpoint as a bundle.")
    parser.add_argument("--checkpoint", type=Path, required=True, help="a checkpoint, or a run folder")
    parser.add_argument("--output", type=Path, required=True, help="folder of the bundle; an older bundle is replaced")
    parser.add_argument("--conf_file", type=Path, help="conf of a published tagger, whose file holds weights alone")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="replace one key of --conf_file")
    parser.add_argument("--model", choices=("student", "teacher"), help="which of a detector's models (the student)")
    parser.add_argument("--postprocessing", type=Path, help="tuned.yaml in place of the checkpoint's post-processing")
    parser.add_argument(
        "--clip_scores", choices=get_args(ClipPooling), help="a tagger's chunks -> recording (as in its conf)"
    )
    parser.add_argument("--audio", type=Path, nargs="+", default=[], help="recordings, or folders of them, to check on")
    parser.add_argument("--id", help="name of the model (that of the output folder)")
    parser.add_argument("--version", default="1", help="version of the model")
    add_scaler_range(parser)
    return parser


def _provenance(system: System[SystemOptions], checkpoint: Path, model_name: str, tuned: Path | None) -> dict[str, Any]:
    return {
        "checkpoint": _named(checkpoint),
        **({} if tuned is None else {"postprocessing": _named(tuned)}),
        **_embedders(system.options),
        "model": model_name,
        "options": json.loads(system.options.model_dump_json()),
        "exported_by": code_version(),
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _embedders(options: SystemOptions) -> dict[str, Any]:
    """By embedder, the file that its weights are from; of one that learned, what it began with."""
    known = {name: described_weights(one) for name, one in options.embedders.items()}
    return {"embedders": known} if known else {}


def _named(file: Path) -> dict[str, str]:
    return {"file": file.name, "sha256": sha256(file.read_bytes()).hexdigest()}


def _summary(bundle: Bundle, folder: Path) -> str:
    parity = bundle.provenance["parity"]
    lines = [f"{folder}: {bundle.model_id} {bundle.version}, {(folder / MODEL_FILE).stat().st_size / 1e6:.2f} MB"]
    lines.append(f"largest difference from torch: {parity['largest_difference']:.1e} (allowed {parity['tolerance']:g})")
    for kind, case in parity["cases"].items():
        shapes = ", ".join(f"{batch} x {samples}" for batch, samples in case["shapes"])
        lines.append(f"  {case['largest_difference']:.1e}  {kind} ({shapes} samples)")
    return "\n".join(lines)


if __name__ == "__main__":
    run_recipe(main)
