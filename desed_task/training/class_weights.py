"""Class weights of a loss, from a file: a torch tensor (.pth, .pt) or text with one number per line, in class order."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from desed_task.errors import OptionsError


def read_class_weights(path: Path, num_classes: int) -> Tensor:
    """(classes,) float32, 0 or more; OptionsError when it is not that."""
    if not path.is_file():
        raise OptionsError(f"training.class_weights: {path} is not there; name a .pth tensor or a text of numbers")
    weights = _read_tensor(path) if path.suffix in (".pth", ".pt") else _read_lines(path)
    if weights.shape != (num_classes,):
        shape = " x ".join(map(str, weights.shape)) or "1"
        raise OptionsError(f"{path}: {shape} class weights for {num_classes} classes; give one per class")
    wrong = ~(weights.isfinite() & (weights >= 0))
    if wrong.any():
        place = int(wrong.int().argmax())
        raise OptionsError(f"{path}: weight {float(weights[place]):g} of class {place} (from 0) must be 0 or more")
    return weights


def _read_tensor(path: Path) -> Tensor:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a file that holds no tensor
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise OptionsError(f"{path}: not a readable tensor ({reason}); save one with torch.save") from None
    if not isinstance(content, Tensor) or content.is_complex():
        raise OptionsError(f"{path}: holds a {type(content).__name__}, not a tensor of weights")
    return content.detach().to(torch.float32)


def _read_lines(path: Path) -> Tensor:
    weights = []
    for row, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            weights.append(float(line))
        except ValueError:
            raise OptionsError(f"{path}, row {row}: {line.strip()[:40]!r} is not a number; write one weight") from None
    return torch.tensor(weights, dtype=torch.float32)
