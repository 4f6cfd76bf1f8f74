"""What a published conf says of the network, but for embeddings: classes, front-end, layers and post-processing.

`net.rnn_layers` is not read, as there: the network has `n_layers_RNN` layers, 2 where the key is absent. Windows of
median filters are frames there and seconds here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from desed_task.errors import OptionsError
from desed_task.labels import DESED_LABELS
from desed_task.published.keys import COMPATIBILITY, PublishedKeys
from desed_task.published.years import published_range

GRU_LAYERS = 2
# The 17 classes of MAESTRO Real that follow the ten of DESED on the class axis of the 2024 baseline.
MAESTRO_LABELS = (
    *("cutlery and dishes", "furniture dragging", "people talking", "children voices", "coffee machine", "footsteps"),
    *("large_vehicle", "car", "brakes_squeaking", "cash register beeping", "announcement", "shopping cart"),
    *("metro leaving", "metro approaching", "door opens/closes", "wind_blowing", "birds_singing"),
)
_LABELS = {len(DESED_LABELS): DESED_LABELS, len(DESED_LABELS) + len(MAESTRO_LABELS): (*DESED_LABELS, *MAESTRO_LABELS)}


def translate_features(keys: PublishedKeys, year: int | None) -> dict[str, Any]:
    """The section `features`, with the scaler range of the year."""
    same = ("sample_rate", "n_window", "hop_length", "n_mels", "f_min", "f_max")
    features = {key: keys.take(f"feats.{key}") for key in same}
    keys.take("feats.n_filters", None)
    keys.require("data.fs", features["sample_rate"], "unlike feats.sample_rate")
    _require_instance_scaler(keys)
    return {**features, "scaler_range": list(published_range(year))}


def translate_model(keys: PublishedKeys) -> dict[str, Any]:
    """The section `model` but for embeddings; what another network would need is a fault."""
    kernel = keys.take("net.kernel_size", [3, 3, 3])
    kernel = kernel if isinstance(kernel, list) and kernel else [kernel]
    keys.require("net.n_in_channel", 1, "only mono is supported")
    keys.require("net.rnn_type", "BGRU", "the published code has no other either")
    keys.require("net.normalization", "batch", "only batch norm is supported")
    keys.require("net.cnn_integration", False, "not supported")
    keys.require("net.stride", [1] * len(kernel), "strides are not supported")
    keys.require("net.padding", [width // 2 for width in kernel if isinstance(width, int)], "must be half the kernel")
    for frozen, trained in (("net.train_cnn", True), ("net.freeze_bn", False)):
        keys.require(frozen, trained, "parts that are not trained are not supported", of_training=True)
    if any(width != kernel[0] for width in kernel):
        keys.model_faults.append(f"net.kernel_size: {kernel} (only equal kernels are supported)")
    for key in ("net.specaugm_t_p", "net.specaugm_f_p"):
        keys.require(key, 0, "masks inside the network are not supported", default=0, of_training=True)
    for key in ("net.specaugm_t_l", "net.specaugm_f_l"):
        keys.take(key, None)
    return {
        "nb_filters": keys.take("net.nb_filters"),
        "pooling": keys.take("net.pooling"),
        "kernel_size": kernel[0],
        "activation": str(keys.take("net.activation", "glu")).lower(),
        "dropout": keys.take("net.dropout", 0.5),
        "n_rnn_cell": keys.take("net.n_RNN_cell", 128),
        "rnn_layers": keys.take("net.n_layers_RNN", GRU_LAYERS),
        "dropout_recurrent": keys.take("net.dropout_recurrent", 0),
        "attention": keys.take("net.attention", True),
        **COMPATIBILITY["model"],
    }


def translate_labels(keys: PublishedKeys) -> list[str]:
    """The classes in the published order, by their number."""
    count = keys.take("net.nclass", len(DESED_LABELS))
    if not isinstance(count, int) or count not in _LABELS:
        keys.model_faults.append(
            f"net.nclass: {count} (known are 10, the classes of DESED, and 27, these and MAESTRO's)"
        )
        return list(DESED_LABELS)
    return list(_LABELS[count])


def _require_instance_scaler(keys: PublishedKeys) -> None:
    keys.require("scaler.statistic", "instance", "each clip is scaled by its own values")
    keys.require("scaler.normtype", "minmax", "only minmax is supported")
    keys.require("scaler.dims", [1, 2], "scaled over time and mel jointly")


def _frame_seconds(keys: PublishedKeys, features: Mapping[str, Any], model: Mapping[str, Any]) -> float:
    try:
        time_pooling = math.prod(int(time) for time, _ in model["pooling"])
        seconds = features["hop_length"] * time_pooling / features["sample_rate"]
    except (TypeError, ValueError, ZeroDivisionError):
        raise OptionsError(f"{keys.origin}: net.pooling: {model['pooling']} is not a list of [time, mel]") from None
    keys.require("data.net_subsample", time_pooling, "unlike the time pooling of net.pooling")
    return float(seconds)


def translate_postprocessing(
    keys: PublishedKeys, labels: Sequence[str], features: Mapping[str, Any], model: Mapping[str, Any]
) -> dict[str, Any]:
    """Windows of frames as seconds: one for all classes (to 2023), or one per class in their order (2024)."""
    frame_seconds = _frame_seconds(keys, features, model)
    by_class = keys.take("net.median_filter", None)
    key = "training.median_window" if by_class is None else "net.median_filter"
    frames = [keys.take("training.median_window", 7)] if by_class is None else by_class
    if (
        not isinstance(frames, list)
        or not frames
        or not all(isinstance(window, int) and window % 2 == 1 for window in frames)
    ):
        keys.model_faults.append(f"{key}: {frames} (only odd numbers of frames have a middle)")
        frames = [7]
    seconds = [round(window * frame_seconds, 9) for window in frames]
    if by_class is None:
        return {"median_filter_seconds": seconds[0], "threshold": 0.5}
    keys.take("training.median_window", None)
    if len(seconds) != len(labels):
        keys.model_faults.append(f"{key}: {len(seconds)} windows for {len(labels)} classes")
        return {"median_filter_seconds": seconds[0], "threshold": 0.5}
    return {"median_filter_seconds": dict(zip(labels, seconds, strict=True)), "threshold": 0.5}
