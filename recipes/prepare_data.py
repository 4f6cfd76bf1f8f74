"""Prepare a corpus for training: fetch what can be fetched, check every recording, pack it at the model's rate.

    python recipes/prepare_data.py --corpus desed
    python recipes/prepare_data.py --corpus desed --basedir /data/dcase/dataset --only_real --no_fetch
    python recipes/prepare_data.py --corpus esc50
    python recipes/prepare_data.py --corpus fsd50k --basedir data/fsd50k --sample_rate 22050
    python recipes/prepare_data.py --corpus audioset --parts balanced_train eval --sample_rate 32000
    python recipes/prepare_data.py --corpus gise51 --parts train val eval
    python recipes/prepare_data.py --corpus soundscapes --basedir data/esc10_soundscapes --store data/store
    python recipes/prepare_data.py --corpus desed --verify

What is there is not fetched or packed again, what is half done is completed, and training afterwards packs nothing.
desed's recordings and store are looked for where confs/corpora/desed.yaml says. Packed stores of recordings that have
changed since are never used; `--clean` removes them. gise51 is fetched and unpacked alone: its mixtures are packed by
`recipes/pack_lmdb.py`, and its events are mixed by `recipes/generate_soundscapes.py`.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from desed_task.clips import ClipSet
from desed_task.command_line import RecipeParser, run_recipe, show, whole_number
from desed_task.data.corpora.audioset import AudioSetOptions, read_audioset
from desed_task.data.corpora.desed import PARTS, DesedOptions, Part, complete_durations, read_desed
from desed_task.data.corpora.esc import EscOptions, read_esc
from desed_task.data.corpora.fsd50k import Fsd50kOptions, read_fsd50k
from desed_task.data.corpora.places import read_places
from desed_task.data.corpora.soundscapes import SoundscapesOptions, list_parts, read_soundscapes
from desed_task.data.preparation import Packing, format_prepared, prepare
from desed_task.errors import CorpusError, OptionsError

DESED_CONF = Path(__file__).resolve().parent.parent / "confs" / "corpora" / "desed.yaml"
DEFAULT_STORE = Path("data/store")
DEFAULT_ROOTS = {
    "esc10": Path("data/esc50"),
    "esc50": Path("data/esc50"),
    "fsd50k": Path("data/fsd50k"),
    "audioset": Path("data/audioset"),
    "gise51": Path("data/gise51"),
}
# --parts of a corpus -> whether they are taken without being named.
NAMED_PARTS: dict[str, dict[str, bool]] = {
    "fsd50k": {"dev": True, "eval": True},
    # Two million clips are fetched only by who asks for them.
    "audioset": {"balanced_train": True, "eval": True, "unbalanced_train": False},
    "gise51": {
        **dict.fromkeys(("train", "val", "eval"), True),
        **dict.fromkeys(("isolated_events", "noises", "mixtures_jams", "pretrained-models"), False),
        **dict.fromkeys((f"train_{size}k" for size in (5, 10, 15, 20, 30, 40, 50)), False),
        **dict.fromkeys((f"train_p{number}" for number in (2, 3, 4, 5)), False),
    },
}
# What is fetched together -> its parts.
FETCHED: dict[str, tuple[Part, ...]] = {
    "strong": ("strong_real",),
    "real": ("weak_train", "weak_validation", "unlabeled", "validation", "public_eval", "eval"),
    "synth": ("synthetic_train", "synthetic_validation"),
}
# As many as the published script: sites of videos turn away who asks for more.
DOWNLOADS_AT_ONCE = 3
_log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> None:
    """Fetch, check and pack a corpus; print what there is of it."""
    arguments = _parser().parse_args(argv)
    chosen = [name for name in FETCHED if getattr(arguments, f"only_{name}")]
    if chosen and arguments.corpus != "desed":
        raise OptionsError(f"--only_{chosen[0]}: only desed comes in these parts; leave it out")
    parts = _parts_of(arguments)
    root, store = _places(arguments)
    if arguments.corpus == "gise51":
        _fetch_gise51(arguments, root, parts)
        return
    packing = Packing(store, arguments.sample_rate, arguments.num_jobs, arguments.verify, arguments.clean)
    if not (arguments.no_fetch or arguments.verify):
        _fetch(arguments, root, parts or chosen or list(FETCHED))
    clip_sets, not_there = _read(arguments.corpus, root, parts or chosen or list(FETCHED), arguments.num_jobs)
    show(format_prepared(prepare(clip_sets, packing), not_there))


def _fetch(arguments: Namespace, root: Path, chosen: Sequence[str]) -> None:
    """Fetch what is not there yet; what cannot be had is said and does not end the work."""
    if arguments.corpus == "desed":
        from desed_task.data.fetch.desed import fetch_desed

        report = fetch_desed(
            root,
            chosen,
            arguments.num_jobs or DOWNLOADS_AT_ONCE,
            retry_missing=arguments.retry_missing,
            yt_dlp_flags=_yt_dlp_flags(arguments),
        )
        _log.info("%s", report.summary())
    elif arguments.corpus == "audioset":
        from desed_task.data.fetch.audioset import fetch_audioset

        jobs = arguments.num_jobs or DOWNLOADS_AT_ONCE
        report = fetch_audioset(
            root, chosen, jobs, retry_missing=arguments.retry_missing, yt_dlp_flags=_yt_dlp_flags(arguments)
        )
        _log.info("%s", report.summary())
    elif arguments.corpus == "fsd50k":
        from desed_task.data.fetch.fsd50k import fetch_fsd50k

        _log.info("%s", fetch_fsd50k(root, chosen).summary())
    elif arguments.corpus in ("esc10", "esc50") and not (root / "metadata.tsv").is_file():
        from desed_task.data.fetch.esc import fetch_esc50

        fetch_esc50(root)


def _fetch_gise51(arguments: Namespace, root: Path, parts: Sequence[str]) -> None:
    """Fetch and unpack; with --no_fetch or --verify, say what is there."""
    from desed_task.data.fetch.gise51 import fetch_gise51, lacking_file

    if arguments.no_fetch or arguments.verify:
        lacking = {part: lacking_file(root, part) for part in parts}
        for part, name in lacking.items():
            show(f"gise51 {part}: {'complete' if name is None else f'{root / name} is not there'}")
        return
    show(fetch_gise51(root, parts).summary())
    for part in parts:
        if part.startswith(("train", "val", "eval")):
            lmdb = root / "mixtures_lmdb" / f"{part}.lmdb"
            _log.info("pack it: python recipes/pack_lmdb.py --mixture_dir %s --lmdb_path %s", root / part, lmdb)


def _yt_dlp_flags(arguments: Namespace) -> tuple[str, ...]:
    return () if arguments.cookies is None else ("--cookies", str(arguments.cookies))


def _read(corpus: str, root: Path, chosen: Sequence[str], num_jobs: int | None) -> tuple[list[ClipSet], list[str]]:
    """The sets that are there, and the names of those that are not."""
    if corpus == "desed":
        return _read_desed_parts(
            root, [part for part in PARTS if any(part in FETCHED[name] for name in chosen)], num_jobs
        )
    if corpus == "soundscapes":
        options = [SoundscapesOptions(name="soundscapes", root=root, part=part) for part in list_parts(root)]
        return [read_soundscapes(of_part, "none") for of_part in options], []
    if corpus == "fsd50k":
        of_parts = [Fsd50kOptions.model_validate({"name": corpus, "root": root, "part": part}) for part in chosen]
        return [read_fsd50k(options, "none") for options in of_parts], []
    if corpus == "audioset":
        return [read_audioset(_audioset_part(root, part), "none") for part in chosen], []
    return [read_esc(EscOptions.model_validate({"name": corpus, "root": root}), "none")], []


def _audioset_part(root: Path, part: str) -> AudioSetOptions:
    return AudioSetOptions(name="audioset", table=root / f"{part}_segments.csv", root=root / "audio" / part)


def _parts_of(arguments: Namespace) -> list[str]:
    """The parts to prepare; none for a corpus that does not come in parts by these names."""
    known = NAMED_PARTS.get(arguments.corpus, {})
    unknown = next((part for part in arguments.parts if part not in known), None)
    if unknown is not None:
        remedy = f"take some of {', '.join(known)}" if known else "leave it out"
        raise OptionsError(f"--parts {unknown}: {arguments.corpus} has no such part; {remedy}")
    return arguments.parts or [part for part, is_usual in known.items() if is_usual]


def _read_desed_parts(root: Path, parts: Sequence[Part], num_jobs: int | None) -> tuple[list[ClipSet], list[str]]:
    clip_sets, absent = [], {}
    for part in parts:
        added = complete_durations(root, part, num_jobs)
        if added:
            _log.info("desed_%s: %d durations written", part, added)
        try:
            clip_sets.append(read_desed(DesedOptions(name="desed", root=root, part=part), "none"))
        except CorpusError as error:
            absent[f"desed_{part}"] = error
    if not clip_sets:
        raise next(iter(absent.values()))
    return clip_sets, list(absent)


def _places(arguments: Namespace) -> tuple[Path, Path]:
    """Where the recordings lie, and where they are packed."""
    if arguments.corpus == "soundscapes" and arguments.basedir is None:
        raise OptionsError("--basedir: name the folder that recipes/generate_soundscapes.py wrote")
    root, store = DEFAULT_ROOTS.get(arguments.corpus, DEFAULT_STORE), DEFAULT_STORE
    if arguments.corpus == "desed":
        root, store = read_places(DESED_CONF)
    is_elsewhere = arguments.basedir is not None and arguments.basedir.resolve() != root.resolve()
    if arguments.corpus == "desed" and is_elsewhere:
        _log.info("%s names another root (%s); correct it before you train on %s", DESED_CONF, root, arguments.basedir)
    return arguments.basedir or root, arguments.store or store


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Fetch, check and pack a corpus.")
    corpora = ("audioset", "desed", "esc10", "esc50", "fsd50k", "gise51", "soundscapes")
    parser.add_argument("--corpus", required=True, choices=corpora, help="which")
    parser.add_argument(
        "--basedir",
        type=Path,
        help="its root (desed: as in confs/corpora/desed.yaml, others: data/esc50, fsd50k, audioset, gise51)",
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        default=[],
        help="fsd50k: dev eval (both); audioset: balanced_train eval (both), unbalanced_train (2 million clips); "
        "gise51: train val eval (all), isolated_events noises mixtures_jams pretrained-models train_5k train_p2 ...",
    )
    parser.add_argument("--only_strong", action="store_true", help="desed: the real strongly labelled recordings")
    parser.add_argument("--only_real", action="store_true", help="desed: weak, unlabeled, validation, evaluation")
    parser.add_argument("--only_synth", action="store_true", help="desed: the synthetic soundscapes")
    parser.add_argument("--store", type=Path, help="where to pack (desed: as in its conf, others: data/store)")
    parser.add_argument(
        "--sample_rate", type=whole_number(1_000, 768_000), default=16_000, help="Hz, that of features.sample_rate"
    )
    parser.add_argument("--num_jobs", type=whole_number(1), help="threads (as many as cores) and downloads at once (3)")
    parser.add_argument(
        "--retry_missing", action="store_true", help="ask again for clips of videos that could not be had"
    )
    parser.add_argument("--cookies", type=Path, help="a browser's cookies for yt-dlp, for clips behind an age limit")
    parser.add_argument("--no_fetch", action="store_true", help="take what is on disk")
    parser.add_argument(
        "--verify", action="store_true", help="fetch nothing, read every packed sample, name a bad clip"
    )
    parser.add_argument("--clean", action="store_true", help="remove old and damaged stores of the same sets")
    return parser


if __name__ == "__main__":
    run_recipe(main)
