"""From which year's recipe a published conf (or the hyper-parameters of a checkpoint) is, told by its keys.

The input scaler gave [0, 1] until 27 April 2024 (commit 471c35a of the published package) and gives [-1, 1] since. A
checkpoint does not store the package's version, so its range follows from the keys that its recipe had: those that came
after that day, those that went before it, and, in between, a question.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ScalerRange = tuple[float, float]
UNIT: ScalerRange = (0.0, 1.0)
SYMMETRIC: ScalerRange = (-1.0, 1.0)
# Keys of the 2024 confs: those that came after the scaler had changed, and those that are older.
_AFTER_THE_CHANGE = (
    *("training.epoch_decay", "net.median_filter", "net.dropstep_recurrent_len"),
    *("net.specaugm_t_p", "net.specaugm_t_l", "net.specaugm_f_p", "net.specaugm_f_l"),
)
_OF_2024 = (
    *("training.mixup_prob", "training.maestro_split", "training.obj_metric_maestro_type", "net.dropstep_recurrent"),
    *("data.real_maestro_train_folder", "data.real_maestro_train", "data.synth_maestro_train"),
)
_OF_2023 = ("training.enable_progress_bar", "training.deterministic", "net.aggregation_type")
# 2023 moved the synthetic set into this folder.
_SYNTHETIC_2023 = "dcase_synth"
_SYNTHETIC = "audio/train/synthetic21_train"


def year_of(keys: Mapping[str, Any]) -> int | None:
    """The recipe's year by its keys ("section.key"); 2022 stands for 2021 too; None when they do not tell."""
    if any(key in keys for key in (*_AFTER_THE_CHANGE, *_OF_2024)):
        return 2024
    synthetic = str(keys.get("data.synth_folder", ""))
    if any(key in keys for key in _OF_2023) or _SYNTHETIC_2023 in synthetic:
        return 2023
    return 2022 if _SYNTHETIC in synthetic else None


def published_range(year: int | None) -> ScalerRange:
    """The scaler range with which that year's results were published."""
    return SYMMETRIC if year == 2024 else UNIT


def trained_range(keys: Mapping[str, Any]) -> ScalerRange | None:
    """The scaler range that a checkpoint with these hyper-parameters was trained with; None when they do not tell."""
    if any(key in keys for key in _AFTER_THE_CHANGE):
        return SYMMETRIC
    return UNIT if year_of(keys) in (2022, 2023) else None
