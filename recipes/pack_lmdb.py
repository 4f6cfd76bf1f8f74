"""Pack recordings and their labels into an LMDB, in the layout of GISE-51; verify one; make FLAC of recordings.

    python recipes/pack_lmdb.py --mixture_dir "mixtures_flac/train;mixtures_flac/train_p2" --lmdb_path train_70k.lmdb
    python recipes/pack_lmdb.py --esc50 data/esc50 --lmdb_path esc50.lmdb --sample_rate 22050
    python recipes/pack_lmdb.py --conf_file confs/corpora/audioset_balanced.yaml --part train \
        --delimiter ";" --sample_rate 22050 --lmdb_path balanced_train.lmdb
    python recipes/pack_lmdb.py verify --lmdb_path train_70k.lmdb
    python recipes/pack_lmdb.py flac --src_dir mixtures/train --tgt_dir mixtures_flac/train --move_txt --move_jams

A folder of mixtures holds NAME.flac (or .wav) and NAME.txt (or .jams), or is a part that generate_soundscapes.py wrote.
`--conf_file` takes the corpora that a tagger's conf, or one of confs/corpora, names as `train`, `validation` or under
`evaluation`. What a packing that was interrupted has finished is kept; the same command goes on. A finished LMDB whose
recordings are unchanged is left alone.
"""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from desed_task.command_line import RecipeParser, run_recipe, show, whole_number
from desed_task.data.corpora.class_tables import read_class_names
from desed_task.data.corpora.conf_sets import read_conf_set
from desed_task.data.flac_files import convert_folder
from desed_task.data.lmdb_items import Item, items_of_esc, items_of_folders, items_of_set
from desed_task.data.lmdb_packing import LmdbPacking, pack_lmdb
from desed_task.data.lmdb_verifying import verify_lmdb
from desed_task.errors import OptionsError

_SOURCES = ("mixture_dir", "esc50", "conf_file")


def main(argv: Sequence[str]) -> None:
    """Pack, or do what the first word says."""
    arguments = _read_command(argv)
    {"pack": _pack, "verify": _verify, "flac": _convert}[arguments.verb](arguments)


def _read_command(argv: Sequence[str]) -> Namespace:
    """The flags of the verb that the first word is, or of packing where it is none."""
    parsers = {"pack": _packing_parser, "verify": _verifying_parser, "flac": _converting_parser}
    verb, flags = (argv[0], argv[1:]) if argv and argv[0] in parsers else ("pack", argv)
    arguments: Namespace = parsers[verb]().parse_args(flags)
    arguments.verb = verb
    return arguments


def _pack(arguments: Namespace) -> None:
    named = [source for source in _SOURCES if getattr(arguments, source) is not None]
    if len(named) != 1:
        raise OptionsError(f"name what to pack, one of {', '.join(f'--{source}' for source in _SOURCES)}")
    items, class_names = _read_items(arguments)
    packing = LmdbPacking(
        arguments.lmdb_path,
        arguments.map_size,
        arguments.write_frequency,
        arguments.sample_rate,
        arguments.audio_min_duration,
        {"delimiter": arguments.delimiter, "class_names": class_names},
        arguments.overwrite,
        arguments.num_jobs,
    )
    packed = pack_lmdb(items, packing)
    what = f"{len(items)} recordings" if packed else f"{len(items)} recordings, packed before and unchanged"
    show(f"{arguments.lmdb_path}: {what}")


def _read_items(arguments: Namespace) -> tuple[list[Item], list[str] | None]:
    """What to pack, and the names of its classes where records have their numbers."""
    if arguments.mixture_dir is not None:
        folders = [Path(folder) for folder in arguments.mixture_dir.split(";") if folder]
        return items_of_folders(folders, arguments.delimiter), None
    if arguments.esc50 is not None:
        numbers = None
        if arguments.label_map is not None:
            numbers = {name: number for number, name in enumerate(read_class_names(arguments.label_map))}
        items, names = items_of_esc(arguments.esc50, numbers)
        return items, list(names)
    clip_set = read_conf_set(arguments.conf_file, arguments.part, arguments.set, arguments.with_events)
    return items_of_set(clip_set, arguments.delimiter), None


def _verify(arguments: Namespace) -> None:
    found = verify_lmdb(arguments.lmdb_path, arguments.num_jobs)
    checksums = "checksums are right" if found.has_checksums else "it has no checksums"
    show(
        f"{arguments.lmdb_path}: {found.num_records} records, {found.hours:.2f} hours, {found.num_bytes / 1e6:.1f} MB; "
        f"all decode, {checksums}"
    )


def _convert(arguments: Namespace) -> None:
    suffixes = [suffix for suffix in ("txt", "jams") if getattr(arguments, f"move_{suffix}")]
    written, there = convert_folder(
        arguments.src_dir,
        arguments.tgt_dir,
        arguments.tgt_sample_rate,
        [f".{suffix}" for suffix in suffixes],
        arguments.num_jobs,
    )
    show(f"{arguments.tgt_dir}: {there} recordings, {written} of them written now")


def _packing_parser() -> RecipeParser:
    parser = RecipeParser(description="Pack recordings and their labels into an LMDB; see also `verify` and `flac`.")
    parser.add_argument("--mixture_dir", help="folders of mixtures, joined by ;")
    parser.add_argument("--esc50", type=Path, metavar="ROOT", help="ESC-50: class numbers and folds, as published")
    parser.add_argument("--label_map", type=Path, help="numbers of ESC-50's classes (lbl_map.json); else its targets")
    parser.add_argument("--conf_file", type=Path, help="conf whose corpora are packed")
    parser.add_argument("--part", default="train", help="train, validation, or the name of an evaluation set")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="replace one key of the conf")
    parser.add_argument("--with_events", action="store_true", help="keep times of events, of corpora that have them")
    parser.add_argument("--lmdb_path", type=Path, required=True, help="LMDB to write: a file, or a folder that exists")
    parser.add_argument(
        "--map_size", type=_bytes, default=5_000_000_000, help="bytes to begin with; it grows by itself"
    )
    parser.add_argument("--write_frequency", type=whole_number(1), default=1000, help="records per transaction")
    parser.add_argument("--audio_min_duration", type=float, help="seconds up to which shorter recordings are repeated")
    parser.add_argument("--sample_rate", type=whole_number(1_000, 768_000), help="Hz (each recording's own)")
    parser.add_argument("--delimiter", default=",", help="between the labels of a recording; AudioSet: ;")
    parser.add_argument("--overwrite", action="store_true", help="replace an LMDB of other recordings")
    parser.add_argument("--num_jobs", type=whole_number(1), help="threads (as many as cores)")
    return parser


def _verifying_parser() -> RecipeParser:
    parser = RecipeParser(description="Read an LMDB from end to end, and say whether it is whole.")
    parser.add_argument("--lmdb_path", type=Path, required=True, help="LMDB to verify, packed here or elsewhere")
    parser.add_argument("--num_jobs", type=whole_number(1), help="threads (as many as cores)")
    return parser


def _converting_parser() -> RecipeParser:
    parser = RecipeParser(description="Make FLAC of one channel and 16 bits of every recording in a folder.")
    parser.add_argument("--src_dir", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--tgt_dir", type=Path, required=True, help="folder for FLAC files; what is there is kept")
    parser.add_argument("--tgt_sample_rate", type=whole_number(1_000, 768_000), default=22_050, help="Hz")
    parser.add_argument("--move_txt", action="store_true", help="copy NAME.txt along")
    parser.add_argument("--move_jams", action="store_true", help="copy NAME.jams along")
    parser.add_argument("--num_jobs", type=whole_number(1), help="threads (as many as cores)")
    return parser


def _bytes(text: str) -> int:
    """A whole number, which may be written as 2e10."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 1 <= number < 1e18:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes, such as 2e10")
    return int(number)


if __name__ == "__main__":
    run_recipe(main)
