"""Published checkpoints (2022-2024) of the DESED baselines: read without running anything, and described in our words.

A Lightning checkpoint is a pickle. torch's restricted reader takes tensors and plain values only; what else old
Lightning versions leave in them (callback classes as keys, AttributeDict, numpy scalars, paths) is replaced by plain
values or by inert stand-ins here, by name and without importing it. A name that is none of those is refused.

Weights: `sed_student` and `sed_teacher` as plain state dicts, else `state_dict` with them as prefixes, beside the
`mel_spec.*` buffers of the front-end, which ours computes; those of embeddings are for fused_weights.py. Options:
`hyper_parameters`, the whole published conf.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor

from desed_task.errors import CheckpointError
from desed_task.published.conf import is_published_conf, translate_stored
from desed_task.published.keys import flattened
from desed_task.published.years import ScalerRange, trained_range, year_of

LOG = logging.getLogger(__name__)
HYPER_PARAMETERS = "hyper_parameters"
MODELS = ("student", "teacher")
# Packages whose objects a checkpoint may name; none of them is imported or called. src.data.* are the crops, masks and
# mixers that fsd50k-pytorch and GISE-51 keep among their hyper-parameters.
_KNOWN = (
    *("pytorch_lightning.", "lightning.", "lightning_fabric.", "torchmetrics.", "torch.", "numpy.", "desed_task."),
    *("src.data.transforms.", "src.data.mixers."),
)
# Types that stand in a pickle as arguments, such as that of a defaultdict.
_PLAIN_TYPES = {f"builtins.{name}" for name in ("list", "dict", "tuple", "int", "float", "str", "bool")}
# Files older than torch's zip format do not list what they name; PANNs keep numpy arrays of their sampler.
_OLD_FILES_NAME = (
    *(f"numpy.{module}.multiarray.{name}" for module in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *("numpy.ndarray", "numpy.dtype"),
)
_SCALARS = {"f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q"} | {
    **{"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "b1": "?"}
}


class _NumpyType:
    """Stands for numpy.dtype: its code and byte order."""

    def __init__(self, code: str = "", *_: Any) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


def _numpy_scalar(kind: Any, data: Any = b"") -> Any:
    """A numpy scalar as a plain number; None for what is not a number."""
    code = _SCALARS.get(getattr(kind, "code", ""))
    return struct.unpack(kind.order + code, data)[0] if code and isinstance(data, bytes) else None


def _path(*parts: str) -> str:
    return str(PurePath(*parts))


def _plain_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _inert(name: str) -> type:
    """A class of nothing that takes whatever a pickle does to it."""

    def ignore(self: Any, *_: Any) -> None: ...

    def create(cls: type, *_: Any) -> Any:
        return object.__new__(cls)

    return type(name, (), {"__new__": create, "__init__": ignore, "__setstate__": ignore})


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint file holds, ours or a published one, on the CPU. CheckpointError when it cannot be read."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:  # not a file of torch's zip format: of torch before 1.6 (the PANNs), or none of torch's at all
        names = list(_OLD_FILES_NAME)
    stand_ins = []
    for name in names:
        stand_in = _stand_in(name)
        if stand_in is None:
            raise CheckpointError(
                f"{path}: holds {name}, which is code and not data; nothing of it was run: take a checkpoint from a "
                f"source that you trust"
            )
        stand_ins.append((stand_in, name))
    try:
        with torch.serialization.safe_globals(list(stand_ins)):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a file that is not a checkpoint
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise CheckpointError(
            f"{path}: not a readable checkpoint ({reason}); name another, or fetch it again"
        ) from None
    return checkpoint if isinstance(checkpoint, dict) else {}


def is_published(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is of the published code."""
    return is_published_conf(checkpoint.get(HYPER_PARAMETERS)) and any(
        weights_of(checkpoint, name) is not None for name in MODELS
    )


def weights_of(checkpoint: Mapping[str, Any], model: str) -> dict[str, Tensor] | None:
    """The state dict of the student or the teacher; None when the checkpoint holds none."""
    plain = checkpoint.get(f"sed_{model}")
    return dict(plain) if isinstance(plain, Mapping) else weights_below(checkpoint, f"sed_{model}.")


def weights_below(checkpoint: Mapping[str, Any], prefix: str) -> dict[str, Tensor] | None:
    """What the `state_dict` of a checkpoint has with that beginning of its name, without it; None where it is none."""
    whole = checkpoint.get("state_dict")
    if not isinstance(whole, Mapping):
        return None
    return {key.removeprefix(prefix): value for key, value in whole.items() if str(key).startswith(prefix)} or None


def translate_checkpoint(checkpoint: Mapping[str, Any], path: Path, answer: ScalerRange | None) -> dict[str, Any]:
    """The tree of the SedOptions that a published checkpoint was trained with.

    answer: the scaler range where the user names it; CheckpointError with the question when the file does not tell it.
    """
    hyper_parameters = checkpoint[HYPER_PARAMETERS]
    keys = flattened(hyper_parameters)
    scaler_range = answer or trained_range(keys)
    if scaler_range is None:
        raise CheckpointError(
            f"{path}: was it trained before or after 27 April 2024? The input scaler changed on that day and its "
            f"hyper-parameters do not tell: give --scaler_range 0 1 (before) or --scaler_range -1 1 (after)"
        )
    tree = translate_stored(_with_classes(hyper_parameters, checkpoint), f"{path}, {HYPER_PARAMETERS}").tree
    tree["features"]["scaler_range"] = list(scaler_range)
    year, low, high = year_of(keys), *scaler_range
    LOG.info("%s: published%s, scaler range [%g, %g]", path, f" in {year}" if year else "", low, high)
    if answer is None and year == 2023:
        LOG.warning(
            "%s: if that recipe was trained anew after 27 April 2024, its range is another: --scaler_range -1 1", path
        )
    return tree


def _with_classes(hyper_parameters: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The hyper-parameters, with the number of classes of the output layer where they do not name it."""
    net = dict(hyper_parameters["net"])
    for model in MODELS:
        bias = (weights_of(checkpoint, model) or {}).get("dense.bias")
        if isinstance(bias, Tensor):
            net.setdefault("nclass", len(bias))
    return {**hyper_parameters, "net": net}


def _stand_in(name: str) -> Callable[..., Any] | None:
    """What takes the place of a global of a pickle; None for one that is not known to be harmless."""
    last = name.rpartition(".")[2]
    if last == "AttributeDict":
        return dict
    if name == "collections.defaultdict":
        return _plain_dict
    if last == "scalar" and name.startswith("numpy."):
        return _numpy_scalar
    if name == "numpy.dtype":
        return _NumpyType
    if name.startswith("pathlib."):
        return _path
    if name == "argparse.Namespace" or name in _PLAIN_TYPES or name.startswith(_KNOWN):
        return _inert(last)
    return None
