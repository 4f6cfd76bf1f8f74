"""Batch norm over the batch of all ranks: each normalises its clips by the mean and variance of everybody's.

In training, every rank tells count, mean and sum of squared deviations of its values (float32); they are joined as by
Chan, Golub, LeVeque (1979), which loses nothing where means are large beside the spread. The gradient is that of the
joint statistics: sums of the incoming gradient, and of it times the normalised values, over all ranks. Gradients of
weight and bias are this rank's own; DDP takes their mean, as of every parameter. torch's SyncBatchNorm does the same on
GPUs and refuses CPUs. In evaluation it is nn.BatchNorm2d.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d with the same parameters and buffers. group: of the ranks, None for all."""

    group: Any = None

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, mel_frames, mel_bands), the same shape in every rank or not."""
        if not self.training:
            return super().forward(x)
        apply: Any = _Normalise.apply
        normalised, mean, variance, count = apply(x, self.weight, self.bias, self.eps, self.group)
        self._follow(mean, variance * (count / (count - 1)))
        return cast(Tensor, normalised)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics as nn.BatchNorm2d does (the unbiased variance)."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def synchronise_norms(model: nn.Module, group: Any = None) -> None:
    """Turn every nn.BatchNorm2d of a model, in place, into one over all ranks; the state dict stays as it is."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = SynchronisedBatchNorm2d
            module.group = group


class _Normalise(torch.autograd.Function):
    """x, weight, bias -> normalised x, mean, variance (biased), values per channel in all ranks."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, group: Any
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, variance, count = _joint_statistics(x.detach().float(), group)
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps, ctx.group = eps, group
        ctx.mark_non_differentiable(mean, variance, count)
        return functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps), mean, variance, count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> Any:
        x, weight, mean, variance, count = ctx.saved_tensors
        # Evaluation's gradients of weight and bias are the two sums that are asked for.
        _, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, None, None, False, ctx.eps, [False, True, True]
        )
        sums = torch.cat([by_weight, by_bias])
        dist.all_reduce(sums, group=ctx.group)
        along, level = (sums / count).chunk(2)
        scale = weight * torch.rsqrt(variance + ctx.eps)
        # scale * (gradient - level - normalised * along)
        shift = functional.batch_norm(x, mean, variance, -scale * along, -scale * level, False, 0.0, ctx.eps)
        by_x = torch.addcmul(shift, gradient, scale[:, None, None].to(gradient.dtype))
        return by_x, by_weight, by_bias, None, None


def _joint_statistics(x: Tensor, group: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance per channel, and the count of values per channel, over all ranks."""
    channels = x.shape[1]
    variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
    own = x.numel() // channels
    told = torch.cat([mean, variance * own, mean.new_full((1,), own)])
    heard = [torch.empty_like(told) for _ in range(dist.get_world_size(group))]
    dist.all_gather(heard, told, group=group)
    means, deviations, counts = torch.split(torch.stack(heard), [channels, channels, 1], dim=1)
    count = counts.sum()
    mean = (counts * means).sum(dim=0) / count
    return mean, (deviations + counts * (means - mean).square()).sum(dim=0) / count, count
