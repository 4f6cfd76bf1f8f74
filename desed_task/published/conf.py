"""A published conf (2022-2024) as options of ours: the key map.

The result behaves as published for its year, oddities included (docs/compatibility.md), with the scaler range of the
year: [0, 1] to 2023, [-1, 1] in 2024. `net.rnn_layers` is not read, as there: the network has `n_layers_RNN` layers, 2
where the key is absent, whatever rnn_layers says. Windows of median filters, which are frames there, become seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from desed_task.errors import OptionsError
from desed_task.published.course import translate_augmentations, translate_data_section, translate_training
from desed_task.published.embeddings import translate_embeddings
from desed_task.published.keys import COMPATIBILITY, PublishedKeys
from desed_task.published.network import (
    translate_features,
    translate_labels,
    translate_model,
    translate_postprocessing,
)
from desed_task.published.years import year_of

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Translation:
    """A published conf in our words: the tree of a SedOptions, its year, and the keys that do nothing, with reasons."""

    tree: dict[str, Any]
    year: int | None
    never_had_effect: Mapping[str, str]
    no_effect_here: Mapping[str, str]

    def log(self, origin: str) -> None:
        """Say how the conf was read and, in one list each, which keys do nothing."""
        year = "a year that its keys do not tell" if self.year is None else str(self.year)
        LOG.info("%s: read as a published conf of %s", origin, year)
        for meaning, keys in (
            ("never had an effect", self.never_had_effect),
            ("have no effect here", self.no_effect_here),
        ):
            if keys:
                LOG.info("%s: %s: %s", origin, meaning, "; ".join(f"{key} ({why})" for key, why in keys.items()))


def parse_published(path: Path) -> dict[str, Any] | None:
    """The tree of a published conf; None for any other file, whose faults are for its own reader to find."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    return tree if is_published_conf(tree) else None


def is_published_conf(tree: Any) -> bool:
    """Whether a tree has the shape of a published conf: training and net, and features, scaler or optimiser apart."""
    if not isinstance(tree, Mapping):
        return False
    sections = {str(key) for key, value in tree.items() if isinstance(value, Mapping)}
    return {"training", "net"} <= sections and bool({"feats", "scaler", "opt"} & sections)


def translate_conf(tree: Mapping[str, Any], path: Path) -> Translation:
    """A published conf in our words. OptionsError lists all that would change the result and is not supported here."""
    run_folder = path.parent.parent if path.parent.name == "confs" else path.parent
    keys = PublishedKeys(tree, str(path))
    translated = _translate(keys, (run_folder, Path()))
    faults = (*keys.model_faults, *keys.training_faults)
    if faults:
        raise OptionsError(
            f"{path}: would train something else here than it describes: {'; '.join(faults)}; change these keys, or "
            f"write a conf of ours (confs/sed/compat_2022.yaml)"
        )
    return translated


def translate_stored(tree: Mapping[str, Any], origin: str) -> Translation:
    """The same for the hyper-parameters of a checkpoint, whose training is over.

    Only what the model needs must be supported; data that cannot be named becomes DESED at its usual place.
    """
    keys = PublishedKeys(tree, origin)
    translated = _translate(keys, (Path(),))
    if keys.model_faults:
        raise OptionsError(f"{origin}: the model needs what is not supported here: {'; '.join(keys.model_faults)}")
    return translated


def _translate(keys: PublishedKeys, starts: Sequence[Path]) -> Translation:
    year = year_of(keys.values)
    labels = translate_labels(keys)
    features, model = translate_features(keys, year), translate_model(keys)
    embeddings = translate_embeddings(keys, year, starts)
    tree = {
        "labels": labels,
        "features": features,
        "model": {**model, **embeddings.model},
        "embedders": embeddings.embedders,
        "augmentations": translate_augmentations(keys),
        "data": translate_data_section(keys, starts),
        "training": translate_training(keys, year),
        "postprocessing": translate_postprocessing(keys, labels, features, model),
        "energy": dict(COMPATIBILITY["energy"]),
    }
    keys.close()
    return Translation(tree, year, keys.never, keys.idle)
