"""GISE-51's release in small: real recordings of ESC-10 under the names of its folders, linked and not copied."""

from __future__ import annotations

import csv
from pathlib import Path

LABELS = ("dog_bark", "rooster", "person_sneeze")
NOISES = ("rain", "sea_waves")
SPLIT_OF_FOLD = {"1": "train", "2": "train", "3": "val", "4": "eval"}
MOST_PER_CLASS = 4


def link_release(esc10: Path, root: Path) -> Path:
    """root/isolated_events/<split>/<label>/*, root/noises/<split>/*: four recordings of each class in each split."""
    with (esc10 / "metadata.tsv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    for row in rows:
        split, name = SPLIT_OF_FOLD[row["fold"]], Path(row["filename"]).name
        folders = [root / "isolated_events" / split / row["event_label"]] if row["event_label"] in LABELS else []
        folders += [root / "noises" / split] if row["event_label"] in NOISES else []
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            if len(list(folder.iterdir())) < MOST_PER_CLASS:
                (folder / name).symlink_to(esc10 / "audio" / row["filename"])
    return root
