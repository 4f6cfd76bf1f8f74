"""FSD50K (Fonseca et al. 2022): 51,197 recordings of 0.3 to 30 s from Freesound, 200 classes, tags per clip.

    <root>/FSD50K.ground_truth/{dev,eval}.csv   fname,labels,mids[,split]; labels are names joined by commas
    <root>/FSD50K.ground_truth/vocabulary.csv   number, name, mid of each class, no header
    <root>/FSD50K.dev_audio/<fname>.wav         40,966 recordings, 44.1 kHz
    <root>/FSD50K.eval_audio/<fname>.wav        10,231 recordings

`dev` is split by its table into `train` (36,796) and `val` (4,170). The originals are read in place and resampled when
they are packed; PSLA's copies at 16 kHz (`FSD50K.dev_audio_16k`) serve where the originals are not there. Labels are
propagated to their ancestors, as published.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import Field

from desed_task.clips import ClipSet, Supervision
from desed_task.data.corpora.listed import (
    Listed,
    Shelves,
    build_listed_set,
    read_cells,
    require_weak,
    split_labels,
)
from desed_task.errors import CorpusError
from desed_task.options import Options

Part = Literal["train", "val", "dev", "eval"]
GROUND_TRUTH = "FSD50K.ground_truth"
# Originals first: copies at 16 kHz lack what a model at 22.05 or 32 kHz hears.
AUDIO_SUFFIXES = ("", "_16k")


class Fsd50kOptions(Options):
    """A part of FSD50K."""

    name: Literal["fsd50k"]
    root: Path = Field(description="The folder that holds FSD50K.ground_truth and FSD50K.dev_audio, FSD50K.eval_audio.")
    part: Part = Field(description="train, val (both of dev, by its split), dev or eval.")
    audio: Path | None = Field(None, description="Another folder with the recordings, such as resampled ones.")
    table: Path | None = Field(
        None, description="Another table than dev.csv or eval.csv, such as one whose labels are enhanced."
    )


def read_fsd50k(options: Fsd50kOptions, supervision: Supervision, labels: Collection[str] | None = None) -> ClipSet:
    """The recordings of a part that are on disk, weakly labelled. CorpusError for what `build_listed_set` refuses."""
    name = "fsd50k_" + {"train": "dev_train", "val": "dev_val"}.get(options.part, options.part)
    require_weak(name, supervision)
    whole: Literal["dev", "eval"] = "eval" if options.part == "eval" else "dev"
    table = options.table or table_of(options.root, whole)
    folders = [str(options.audio)] if options.audio is not None else audio_folders(options.root, whole)
    shelves = Shelves()
    rows = []
    for fname, tags, split in read_ground_truth(table, whole):
        if options.part in ("train", "val") and split != options.part:
            continue
        file = fname if fname.endswith(".wav") else f"{fname}.wav"
        where = next(((folder, found) for folder in folders if (found := shelves.find(folder, file))), None)
        folder, found = where or (folders[0], file)
        rows.append(Listed(fname.removesuffix(".wav"), f"{folder}/{found}", tags, where is not None))
    return build_listed_set(name, rows, table, supervision, labels)


def table_of(root: Path, whole: Literal["dev", "eval"]) -> Path:
    """dev.csv or eval.csv; CorpusError with the way to get it."""
    for folder in (root / GROUND_TRUTH, root):
        if (folder / f"{whole}.csv").is_file():
            return folder / f"{whole}.csv"
    raise CorpusError(
        f"{root}: no {GROUND_TRUTH}/{whole}.csv here; set `root`, or fetch it with "
        f"`python recipes/prepare_data.py --corpus fsd50k`"
    )


def audio_folders(root: Path, whole: str) -> list[str]:
    """Where the recordings of dev or eval may lie, the first that has one wins."""
    return [str(root / f"FSD50K.{whole}_audio{suffix}") for suffix in AUDIO_SUFFIXES]


def read_ground_truth(table: Path, whole: Literal["dev", "eval"]) -> list[tuple[str, tuple[str, ...], str]]:
    """(fname, classes, split) of each row of dev.csv, or of eval.csv, which has no split; CorpusError for another."""
    columns = ["fname", "labels", *(["split"] if whole == "dev" else [])]
    rows = []
    for number, (fname, text, *split) in read_cells(table, columns):
        tags = split_labels(text)
        if not fname or not tags:
            raise CorpusError(f"{table}, row {number}: fname and labels must be given; fetch it again")
        rows.append((fname, tags, split[0] if split else ""))
    return rows
