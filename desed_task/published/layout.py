"""The data paths of a published conf as parts of our `desed` corpus.

Published confs name every folder and table on its own; all of them lie at fixed places below one root (2023 and 2024
keep the synthetic set below a root of its own, dcase_synth). Where each path ends as published, what stands before is
the root; where one does not, there is no root to name and the conf is refused.

Relative paths: as published they start in the recipe's folder, the one above confs/; where nothing is there, they start
in the current folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from desed_task.data.corpora.desed import Part, audio_folders, durations_path, table_path
from desed_task.published.keys import PublishedKeys

_NOWHERE = Path()


@dataclass(frozen=True)
class _Place:
    """The keys of `data` that say where a part lies."""

    part: Part
    folder: str
    table: str | None = None
    durations: str | None = None


_SYNTHETIC = _Place("synthetic_train", "synth_folder", "synth_tsv")
_STRONG_REAL = _Place("strong_real", "strong_folder", "strong_tsv")
_WEAK = _Place("weak_train", "weak_folder", "weak_tsv")
_WEAK_VALIDATION = _Place("weak_validation", "weak_folder", "weak_tsv")
_UNLABELED = _Place("unlabeled", "unlabeled_folder")
_SYNTHETIC_VALIDATION = _Place("synthetic_validation", "synth_val_folder", "synth_val_tsv", "synth_val_dur")
_TEST = _Place("validation", "test_folder", "test_tsv", "test_dur")
_EVAL = _Place("eval", "eval_folder")


def translate_data(keys: PublishedKeys, batch_sizes: Sequence[int], starts: Sequence[Path]) -> dict[str, Any]:
    """The section `data`, without lengths. `starts`: the folders that relative paths may start from, the first wins.

    A path that is not where the published layout has it is a fault of `keys`.
    """

    def corpus(place: _Place) -> dict[str, Any]:
        return _corpus(keys, place, starts)

    synthetic, weak, unlabeled = batch_sizes
    data: dict[str, Any] = {
        "train": [
            {"corpus": corpus(_SYNTHETIC), "supervision": "strong", "batch_size": synthetic},
            {"corpus": corpus(_WEAK), "supervision": "weak", "batch_size": weak},
            {"corpus": corpus(_UNLABELED), "supervision": "none", "batch_size": unlabeled},
        ],
        "validation": [
            {"corpus": corpus(_SYNTHETIC_VALIDATION), "supervision": "strong"},
            {"corpus": corpus(_WEAK_VALIDATION), "supervision": "weak"},
        ],
        "test": {"corpus": corpus(_TEST)},
    }
    root = Path(data["test"]["corpus"]["root"])
    data["store"] = str(root.parent / "store")
    if keys.take("data.strong_folder", None) is not None:
        data["strong_real"] = corpus(_STRONG_REAL)
    if keys.take("data.eval_folder", None) is not None:
        data["eval"] = _eval_corpus(keys, starts)
    return data


def placeholder_data(batch_sizes: Sequence[int] = (12, 12, 24)) -> dict[str, Any]:
    """DESED below its usual root, for a system whose stored data paths name nothing that could be read here."""
    root = "data/dcase/dataset"

    def corpus(part: Part) -> dict[str, Any]:
        return {"name": "desed", "root": root, "part": part}

    kinds: tuple[tuple[Part, str], ...] = (
        ("synthetic_train", "strong"),
        ("weak_train", "weak"),
        ("unlabeled", "none"),
    )
    return {
        "train": [
            {"corpus": corpus(part), "supervision": supervision, "batch_size": size}
            for (part, supervision), size in zip(kinds, batch_sizes, strict=True)
        ],
        "validation": [{"corpus": corpus("synthetic_validation"), "supervision": "strong"}],
        "test": {"corpus": corpus("validation")},
    }


def _corpus(keys: PublishedKeys, place: _Place, starts: Sequence[Path]) -> dict[str, Any]:
    """The desed part. Its root is that of the table, below which its folder, or its originals, must lie too."""
    folder = str(keys.take(f"data.{place.folder}"))
    roots = _roots(folder, place.part) + _roots(str(keys.take(f"data.{place.folder}_44k", "")), place.part)
    root = roots[0] if roots else None
    if place.table is not None:
        table = str(keys.take(f"data.{place.table}"))
        root = _root(table, table_path(_NOWHERE, place.part))
        if root is None:
            _add_fault(keys, f"data.{place.table}", table, str(table_path(_NOWHERE, place.part)))
    if root is None or root not in roots:
        _add_fault(keys, f"data.{place.folder}", folder, str(audio_folders(_NOWHERE, place.part)[0]))
    if place.durations is not None:
        durations = str(keys.take(f"data.{place.durations}", durations_path(root or _NOWHERE, place.part)))
        if _root(durations, durations_path(_NOWHERE, place.part)) != root:
            _add_fault(keys, f"data.{place.durations}", durations, str(durations_path(_NOWHERE, place.part)))
    return {"name": "desed", "root": _resolved(root or _NOWHERE, starts), "part": place.part}


def _eval_corpus(keys: PublishedKeys, starts: Sequence[Path]) -> dict[str, Any]:
    """The unlabelled evaluation recordings: the desed part, or, elsewhere, whatever the folder holds."""
    folder = str(keys.take("data.eval_folder"))
    roots = _roots(folder, "eval")
    if roots:
        return {"name": "desed", "root": _resolved(roots[0], starts), "part": "eval"}
    resampled = _resolved(Path(folder), starts)
    original = keys.take("data.eval_folder_44k", None)
    use_original = original is not None and not Path(resampled).is_dir()
    return {"name": "folder", "root": _resolved(Path(str(original)), starts) if use_original else resampled}


def _roots(folder: str, part: Part) -> list[Path]:
    """The root of a folder that ends as published; none for any other."""
    found = (_root(folder, place) for place in audio_folders(_NOWHERE, part))
    return [root for root in found if root is not None]


def _root(path: str, ending: Path | None) -> Path | None:
    """What stands before `ending`; None when the path ends otherwise."""
    parts, tail = PurePosixPath(path).parts, ending.parts if ending is not None else ()
    return Path(*parts[: len(parts) - len(tail)]) if tail and parts[-len(tail) :] == tail else None


def _add_fault(keys: PublishedKeys, key: str, value: str, published: str) -> None:
    fault = f"{key}: {value} (published at ROOT/{published}, and all of a set's paths have one ROOT)"
    if fault not in keys.training_faults:
        keys.training_faults.append(fault)


def _resolved(path: Path, starts: Sequence[Path]) -> str:
    places = [start / path for start in starts]
    return os.path.normpath(next((place for place in places if place.is_dir()), places[0]))
