"""Write FSD50K's one-second chunks and their manifests, for who goes on with the scripts of fsd50k-pytorch.

    python recipes/write_chunks.py --src_dir FSD50K.dev_audio --tgt_dir chunks/dev --sample_rate 22050
    python recipes/write_chunks.py --src_dir FSD50K.eval_audio --tgt_dir chunks/eval --sample_rate 22050
    python recipes/write_chunks.py --dev_csv FSD50K.ground_truth/dev.csv --eval_csv FSD50K.ground_truth/eval.csv \
        --dev_chunks_dir chunks/dev --eval_chunks_dir chunks/eval --output_dir meta

This stands for `multiproc_resample.py`, `chunkify_fsd50k.py` and `make_chunks_manifests.py`, and takes their flags. A
training here needs none of it: its sources cut chunks while they read the packed store.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from desed_task.command_line import RecipeParser, run_recipe, show, whole_number
from desed_task.data.corpora.chunk_writing import write_chunks, write_manifest
from desed_task.data.corpora.chunks import LABEL_MAP, write_label_map
from desed_task.data.corpora.class_tables import read_class_names
from desed_task.data.corpora.fsd50k import read_ground_truth
from desed_task.data.corpora.listing import list_recordings
from desed_task.errors import CorpusError, OptionsError

_log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> None:
    """Write chunks, manifests, or both; print what was written."""
    arguments = _parser().parse_args(argv)
    writes_chunks = arguments.src_dir is not None or arguments.tgt_dir is not None
    writes_manifests = arguments.dev_csv is not None or arguments.eval_csv is not None
    if not (writes_chunks or writes_manifests):
        raise OptionsError("name recordings (--src_dir, --tgt_dir), tables (--dev_csv, --eval_csv), or both")
    if writes_chunks:
        _write_chunks(arguments)
    if writes_manifests:
        _write_manifests(arguments)


def _write_chunks(arguments: Namespace) -> None:
    source, target = _given(arguments, "src_dir"), _given(arguments, "tgt_dir")
    if not source.is_dir():
        raise CorpusError(f"{source}: no such folder of recordings; correct --src_dir")
    recordings = list(list_recordings(source).values())
    if not recordings:
        raise CorpusError(f"{source}: no recordings here (wav, flac, ogg, mp3 ...); correct --src_dir")
    num = write_chunks(recordings, target, arguments.sample_rate, arguments.tail, arguments.num_jobs)
    show(f"{target}: {num} chunks of {len(recordings)} recordings")


def _write_manifests(arguments: Namespace) -> None:
    folder = _given(arguments, "output_dir")
    if arguments.dev_csv is not None:
        chunks = _given(arguments, "dev_chunks_dir")
        rows = read_ground_truth(arguments.dev_csv, "dev")
        for name, split in (("tr.csv", "train"), ("val.csv", "val")):
            tags = {fname: labels for fname, labels, of_split in rows if of_split == split}
            if tags:
                _write_manifest(tags, chunks, folder / name, shuffled=split == "train")
        write_label_map(read_class_names(arguments.dev_csv.with_name("vocabulary.csv")), folder / LABEL_MAP)
    if arguments.eval_csv is not None:
        tags = {fname: labels for fname, labels, _ in read_ground_truth(arguments.eval_csv, "eval")}
        _write_manifest(tags, _given(arguments, "eval_chunks_dir"), folder / "eval.csv", shuffled=False)


def _write_manifest(tags: dict[str, tuple[str, ...]], chunks: Path, path: Path, shuffled: bool) -> None:
    num, without = write_manifest(tags, chunks, path, shuffled)
    if without:
        _log.warning("%s: %d of %d recordings have no chunks, such as %s", path, len(without), len(tags), without[0])
    show(f"{path}: {num} chunks of {len(tags) - len(without)} recordings")


def _given(arguments: Namespace, flag: str) -> Path:
    value = getattr(arguments, flag)
    if value is None:
        raise OptionsError(f"--{flag}: not given; name the folder")
    return Path(value)


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Write one-second chunks of recordings, and their manifests.")
    parser.add_argument("-s", "--src_dir", "--src", "--src_path", type=Path, help="folder of recordings to cut")
    parser.add_argument("-t", "--tgt_dir", "--tgt", "--tgt_path", "--dst_path", type=Path, help="folder for chunks")
    parser.add_argument(
        "--sample_rate", type=whole_number(1_000, 768_000), help="Hz to resample to; not given: each recording's own"
    )
    parser.add_argument("--tail", choices=("tile", "shift", "drop"), default="tile", help="the rest at an end")
    parser.add_argument("--num_jobs", type=whole_number(1), help="threads (as many as cores)")
    parser.add_argument("--dev_csv", type=Path, help="dev.csv of FSD50K, with vocabulary.csv beside it")
    parser.add_argument("--eval_csv", type=Path, help="eval.csv of FSD50K")
    parser.add_argument("--dev_chunks_dir", type=Path, help="folder with the chunks of the development set")
    parser.add_argument("--eval_chunks_dir", type=Path, help="folder with the chunks of the evaluation set")
    parser.add_argument("--output_dir", type=Path, help="folder for tr.csv, val.csv, eval.csv and lbl_map.json")
    return parser


if __name__ == "__main__":
    run_recipe(main)
