"""Dropout whose masks are cheap to draw, to keep and to apply on a CPU.

torch draws one Bernoulli number per element there, one after another, which takes a third of the baseline's training
step. Here one random bit decides about an element (.5), or up to eight that are joined digit by digit, so the share
that is dropped is a multiple of 1/256 (.5 and .25 are exact, .3 becomes 77/256); survivors are scaled by the share
really kept. Masks stay packed, one bit per element, and clear the bits of dropped numbers in place. Elements are
independent of each other. Elsewhere, and in eval mode, this is nn.Dropout. Reproducible from torch's seed as any layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 256
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class Dropout(nn.Module):
    """Zero elements with `probability` in training, scale the others so that the mean stays."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    @property
    def levels_kept(self) -> int:
        """Of 256 elements, how many survive on average in a training on a CPU."""
        return _LEVELS - min(round(self.probability * _LEVELS), _LEVELS - 1)

    @property
    def scale(self) -> float:
        """What survivors are multiplied by."""
        return _LEVELS / self.levels_kept

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        if not self.training or self.probability == 0.0:
            return x
        if x.device.type != "cpu" or x.element_size() not in _INTEGERS or is_traced():
            return functional.dropout(x, self.probability, training=True)
        dropped: Tensor = _Drop.apply(x, self.levels_kept, self.scale)  # type: ignore[no-untyped-call]
        return dropped

    def extra_repr(self) -> str:
        """What print shows."""
        return f"probability={self.probability}"


def is_traced() -> bool:
    """Whether operations are recorded, by torch.compile, an export or torch.jit; they must be torch's own then."""
    return torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None


def draw_bits(num_elements: int, levels_kept: int) -> Tensor | None:
    """One bit per element, 1 with probability levels_kept / 256, in int64 words; None when all are 1.

    From the last binary digit of levels_kept to the first, random bits are joined by OR (digit 1) or AND (digit 0):
    each halves the distance to 1 or to 0.
    """
    if levels_kept == _LEVELS:
        return None
    digits = f"{levels_kept:08b}".rstrip("0")
    bits = _random_words(num_elements)
    for digit in reversed(digits[:-1]):
        random = _random_words(num_elements)
        bits = bits.bitwise_or_(random) if digit == "1" else bits.bitwise_and_(random)
    return bits


def drop_(values: Tensor, bits: Tensor | None) -> Tensor:
    """Set elements of a contiguous tensor to 0 where their bit is 0, in place."""
    if bits is not None and values.numel():
        integer = _INTEGERS[values.element_size()]
        width = torch.iinfo(integer).bits
        # Bit k of each word is brought to the sign, whose arithmetic shift fills a whole number with it.
        mask = bits.view(integer) << torch.arange(width, dtype=integer)[:, None]
        mask >>= width - 1
        values.view(integer).view(-1).bitwise_and_(mask.view(-1)[: values.numel()])
    return values


def _random_words(num_elements: int) -> Tensor:
    return torch.empty(-(-num_elements // 64), dtype=torch.int64).random_(-(2**63), None)


class _Drop(torch.autograd.Function):
    """Keeps nothing but the bits for the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, levels_kept: int, scale: float) -> Tensor:
        ctx.bits, ctx.scale = draw_bits(x.numel(), levels_kept), scale
        return drop_((x * scale).contiguous(), ctx.bits)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return drop_((grad * ctx.scale).contiguous(), ctx.bits), None, None
