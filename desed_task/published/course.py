"""What a published conf says of the course of a training: data, augmentation, schedule, losses and selection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from desed_task.errors import OptionsError
from desed_task.published.keys import COMPATIBILITY, PublishedKeys
from desed_task.published.layout import placeholder_data, translate_data

# Where the cosine decay of 2024 stops.
DECAY_FLOOR = 1e-8
BATCH_SIZES = [12, 12, 24]
_SELECTION = {"intersection": "intersection_f1", "event": "collar_f1", "collar": "collar_f1", "psds": "psds1"}
_PRECISION = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}


def translate_data_section(keys: PublishedKeys, starts: Sequence[Path]) -> dict[str, Any]:
    """The section `data`; DESED at its usual place where the paths cannot be translated, which is a fault."""
    sizes = keys.take("training.batch_size", BATCH_SIZES)
    maestro = [key for key in keys.values if key.startswith("data.real_maestro")]
    for key in maestro:
        keys.take(key)
    if maestro or not isinstance(sizes, list) or len(sizes) != len(BATCH_SIZES):
        keys.training_faults.append(
            f"training.batch_size: {sizes}{' and data.real_maestro_*' if maestro else ''} "
            f"(three sources are supported: synthetic, weak, unlabeled; MAESTRO is not)"
        )
        sizes = BATCH_SIZES
    try:
        data = translate_data(keys, sizes, starts)
    except OptionsError as error:
        keys.training_faults.append(str(error).removeprefix(f"{keys.origin}: "))
        data = placeholder_data(sizes)
    if any(fault.startswith("data.") for fault in keys.training_faults):
        data = placeholder_data(sizes)
    return {**data, "clip_seconds": keys.take("data.audio_max_len", 10), **COMPATIBILITY["data"]}


def translate_augmentations(keys: PublishedKeys) -> list[dict[str, Any]]:
    """The section `augmentations`: mixup or nothing."""
    labels, probability = keys.take("training.mixup", None), keys.take("training.mixup_prob", 0.5)
    if labels is None:
        return []
    if labels not in ("soft", "hard"):
        keys.training_faults.append(f"training.mixup: {labels} (soft, hard, or leave the key out)")
        return []
    return [{"name": "mixup", "probability": probability, "alpha": 0.2, "labels": labels}]


def translate_training(keys: PublishedKeys, year: int | None) -> dict[str, Any]:
    """The section `training`."""
    why = "the evaluation here is that of the published confs"
    keys.require("training.val_thresholds", [0.5], why, of_training=True)
    keys.require("training.n_test_thresholds", 50, why, of_training=True)
    keys.require("training.weak_split", 0.9, "the weak set is split as published", of_training=True)
    for key in ("training.maestro_split", "training.obj_metric_maestro_type"):
        keys.take(key, None)
    seed = keys.take("training.seed", 42)
    if seed != 42:
        keys.idle["training.seed"] = "seeds all but the split of the weak set, which stays that of 42"
    decay_from = keys.take("training.epoch_decay", None)
    training = {
        "n_epochs": keys.take("training.n_epochs", 200),
        "n_epochs_warmup": keys.take("training.n_epochs_warmup", 50),
        "decay_from_epoch": decay_from,
        "min_learning_rate": DECAY_FLOOR if decay_from is not None else 0.0,
        "learning_rate": keys.take("opt.lr"),
        "gradient_clip": keys.take("training.gradient_clip", 0),
        "accumulate_batches": keys.take("training.accumulate_batches", 1),
        "mean_teacher": {
            "ema_decay": keys.take("training.ema_factor", 0.999),
            "consistency_weight": keys.take("training.const_max", 2),
            "consistency_loss": keys.take("training.self_sup_loss", "mse"),
            **COMPATIBILITY["mean_teacher"],
        },
        "validation_interval": keys.take("training.validation_interval", 1),
        "selection_metric": _selection(keys, year),
        "early_stop_patience": keys.take("training.early_stop_patience", 200),
        "seed": seed,
        "deterministic": bool(keys.take("training.deterministic", False)),
        "precision": _precision(keys),
    }
    return {**training, **COMPATIBILITY["training"]}


def _selection(keys: PublishedKeys, year: int | None) -> str:
    """Absent, it is the intersection F1 in 2022 and PSDS 1 since."""
    name = keys.take("training.obj_metric_synth_type", None)
    if name is None:
        return "intersection_f1" if year in (None, 2022) else "psds1"
    if str(name) not in _SELECTION:
        keys.training_faults.append(f"training.obj_metric_synth_type: {name} ({', '.join(_SELECTION)})")
    return _SELECTION.get(str(name), "intersection_f1")


def _precision(keys: PublishedKeys) -> str:
    name = keys.take("training.precision", 32)
    if str(name) not in _PRECISION:
        keys.training_faults.append(f"training.precision: {name} (32, 16 or bf16)")
    return _PRECISION.get(str(name), "32-true")
