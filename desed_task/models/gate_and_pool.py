"""Gated linear unit, dropout and average pool as one operation: the training of a convolution block on a CPU.

    pool(dropout((W x + b) * sigmoid(x)))

As separate layers these write, keep and read again ten arrays of the size of x, and on a CPU memory is what they wait
for. Here a few clips at a time go through all of them while they are in the cache; what is kept for the way back is x
and one bit per element, and the rest is computed again there. Same numbers as the layers to float32 rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from desed_task.models.dropout import draw_bits, drop_

# Clips of at most so many bytes together are worked on at a time; a few arrays of this size fit into a cache.
_CHUNK_BYTES = 5 << 20
_backward_of_pool = torch.ops.aten.avg_pool2d_backward
_backward_of_convolution = torch.ops.aten.convolution_backward
_backward_of_sigmoid = torch.ops.aten.sigmoid_backward


def gate_and_pool(
    x: Tensor, weight: Tensor, bias: Tensor, pool: tuple[int, int], levels_kept: int, scale: float
) -> Tensor:
    """(batch, channels, mel_frames, mel_bands) on a CPU -> the same, pooled.

    weight: (channels, channels); levels_kept of 256 elements survive dropout and are multiplied by scale.
    """
    pooled: Tensor = _GateAndPool.apply(x, weight, bias, pool, levels_kept, scale)  # type: ignore[no-untyped-call]
    return pooled


class _GateAndPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, pool: tuple[int, int], levels_kept: int, scale: float
    ) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        kernel, offset = weight.to(x.dtype)[:, :, None, None], bias.to(x.dtype)
        pooled, all_bits = [], []
        with torch.autocast("cpu", enabled=False):
            for clips in _chunks(x):
                bits = draw_bits(clips.numel(), levels_kept)
                gated = functional.conv2d(clips, kernel, offset).mul_(torch.sigmoid(clips))
                pooled.append(functional.avg_pool2d(_drop_channels_last_(gated, bits), pool).mul_(scale))
                all_bits.append(bits)
        ctx.save_for_backward(x, kernel, offset)
        ctx.all_bits, ctx.pool, ctx.scale, ctx.dtypes = all_bits, pool, scale, (weight.dtype, bias.dtype)
        return torch.cat(pooled)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel, offset = ctx.saved_tensors
        grad_x = torch.empty_like(x)
        summed = torch.promote_types(x.dtype, torch.float32)
        grad_kernel, grad_offset = torch.zeros_like(kernel, dtype=summed), torch.zeros_like(offset, dtype=summed)
        first = 0
        with torch.autocast("cpu", enabled=False):
            for clips, bits in zip(_chunks(x), ctx.all_bits, strict=True):
                part = slice(first, first + len(clips))
                scaled = grad[part] * ctx.scale
                parts = _backward_of_clips(scaled, clips, kernel, offset, bits, ctx.pool, grad_x[part])
                grad_kernel += parts[0]
                grad_offset += parts[1]
                first = part.stop
        return grad_x, grad_kernel[:, :, 0, 0].to(ctx.dtypes[0]), grad_offset.to(ctx.dtypes[1]), None, None, None


def _backward_of_clips(
    grad: Tensor,
    clips: Tensor,
    kernel: Tensor,
    offset: Tensor,
    bits: Tensor | None,
    pool: tuple[int, int],
    grad_clips: Tensor,
) -> tuple[Tensor, Tensor]:
    """Gradients of kernel and offset; that of the clips is written to grad_clips."""
    spread = _backward_of_pool(grad, clips, pool, pool, (0, 0), False, True, None)
    spread = _drop_channels_last_(spread, bits)
    gate, linear = torch.sigmoid(clips), functional.conv2d(clips, kernel, offset)
    grad_linear = spread * gate
    through_linear = functional.conv2d(grad_linear, kernel.transpose(0, 1))
    torch.add(through_linear, _backward_of_sigmoid(spread.mul_(linear), gate), out=grad_clips)
    # oneDNN takes a third longer when it is asked for all three gradients at once.
    _, grad_kernel, _ = _backward_of_convolution(
        grad_linear, clips, kernel, None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1, (False, True, False)
    )
    summed = torch.promote_types(clips.dtype, torch.float32)
    return grad_kernel, grad_linear.sum(dim=(0, 2, 3), dtype=summed)


def _drop_channels_last_(values: Tensor, bits: Tensor | None) -> Tensor:
    values = values.contiguous(memory_format=torch.channels_last)
    drop_(values.permute(0, 2, 3, 1), bits)
    return values


def _chunks(x: Tensor) -> Iterator[Tensor]:
    clip_bytes = x[:1].numel() * x.element_size()
    yield from torch.split(x, max(1, _CHUNK_BYTES // max(1, clip_bytes)))
