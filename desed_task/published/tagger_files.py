"""Weights of a tagger out of a file: a state dict as it was published, wherever in the file it stands.

PSLA, AST and AudioTagging Done Right saved bare state dicts of data-parallel networks (`module.` before every name),
PANNs put theirs under `model`, EfficientAT saved it bare, Lightning has `state_dict` with the network's attribute in
front, Hugging Face writes safetensors too. Our own checkpoints hold `model` or `sed_student`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from desed_task.errors import CheckpointError
from desed_task.published.checkpoint import read_checkpoint

_PLACES = ("model", "sed_student", "state_dict", "net")
# What stands before every name, by data-parallel training, and by the Lightning modules of fsd50k-pytorch and GISE-51.
_PREFIXES = ("module.", "net.", "model.")
# What those Lightning modules save beside the network: class weights of the loss.
_LOSS = "criterion."
_ZIP, _LFS_POINTER = b"PK\x03\x04", b"version https://git-lfs"


def read_tagger_weights(path: Path) -> dict[str, Tensor]:
    """Name -> values, on the CPU, without what stands before every name; CheckpointError when there are none."""
    fault = _fault_of(path)
    if fault is not None:
        raise CheckpointError(f"{path}: not a readable checkpoint ({fault}); fetch the file again, or name another")
    weights = _read_safetensors(path) if path.suffix == ".safetensors" else _place(read_checkpoint(path))
    if not weights:
        raise CheckpointError(
            f"{path}: holds no weights (looked for a state dict, by itself or under {', '.join(_PLACES)}); name a "
            f"checkpoint of a model"
        )
    require_finite(weights, path)
    return _without_prefix(weights)


def require_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    """CheckpointError for weights that no training can have meant to keep."""
    broken = next((name for name, values in weights.items() if not _is_finite(values)), None)
    if broken is not None:
        raise CheckpointError(f"{path}: {broken} holds values that are not finite; name another checkpoint")


def _fault_of(path: Path) -> str | None:
    """What the file is in place of weights; None where only reading it tells more."""
    if not path.is_file():
        return "a folder that is none of Hugging Face's" if path.is_dir() else "no such file"
    with path.open("rb") as stream:
        beginning = stream.read(64).lstrip()
    if not beginning:
        return "it is empty"
    if beginning.startswith(b"<"):
        return "it is a web page"
    if beginning.startswith(_LFS_POINTER):
        return "it is a pointer of git-lfs to the file"
    return "it is cut short" if beginning.startswith(_ZIP) and not zipfile.is_zipfile(path) else None


def weights_in(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Those of a checkpoint that was read, by the names that families are known by; none, where it has none."""
    return _without_prefix(_place(checkpoint))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        weights: dict[str, Tensor] = load_file(path)
    except Exception as error:  # SafetensorError and whatever opening a file can raise
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise CheckpointError(f"{path}: not a readable safetensors file ({reason}); fetch it again") from None
    return weights


def _place(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    for candidate in (*(checkpoint.get(place) for place in _PLACES), checkpoint):
        if isinstance(candidate, Mapping):
            tensors = {str(name): values for name, values in candidate.items() if isinstance(values, Tensor)}
            if tensors:
                return {name: values for name, values in tensors.items() if not name.startswith(_LOSS)}
    return {}


def _without_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if weights and all(name.startswith(prefix) for name in weights):
            return _without_prefix({name.removeprefix(prefix): values for name, values in weights.items()})
    return weights


def _is_finite(values: Tensor) -> bool:
    return not values.is_floating_point() or bool(values.isfinite().all())
