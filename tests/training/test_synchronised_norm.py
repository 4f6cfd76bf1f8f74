"""Batch norm over two processes against nn.BatchNorm2d over the whole batch: outputs, gradients, statistics."""

from __future__ import annotations

import copy
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from desed_task.training.synchronised_norm import SynchronisedBatchNorm2d, synchronise_norms

DEADLINE_SECONDS = 60.0
# Clips of rank 0 and of rank 1; far from zero, where a variance from sums of squares would lose its digits.
SHARES = (slice(0, 3), slice(3, 4))
OFFSET, SPREAD = 1000.0, 0.1


def build_norm(momentum: float | None) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(5, eps=1e-3, momentum=momentum)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2.0, 5))
        norm.bias.copy_(torch.linspace(-1.0, 1.0, 5))
    return norm


def draw_batches() -> tuple[list[Tensor], Tensor]:
    """Two batches (4, 5, 6, 7) and the gradient that comes in."""
    generator = torch.Generator().manual_seed(0)
    batches = [OFFSET + SPREAD * torch.randn(4, 5, 6, 7, generator=generator) for _ in range(2)]
    return batches, torch.randn(4, 5, 6, 7, generator=generator)


def hear(norm: nn.Module, batches: list[Tensor], gradient: Tensor) -> dict[str, Tensor]:
    """What two steps and an evaluation give."""
    for batch in batches:
        x = batch.clone().requires_grad_()
        norm.zero_grad()
        output = norm(x)
        output.backward(gradient)
    found = {"output": output.detach(), "by_x": x.grad, **{f"by_{n}": p.grad for n, p in norm.named_parameters()}}
    norm.eval()
    with torch.no_grad():
        found["evaluated"] = norm(batches[0])
    return {**found, **norm.state_dict()}


def _one_rank(rank: int, meeting: str, momentum: float | None, path: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    batches, gradient = draw_batches()
    norm = build_norm(momentum)
    names = list(norm.state_dict())
    synchronise_norms(norm)
    assert isinstance(norm, SynchronisedBatchNorm2d)
    assert list(norm.state_dict()) == names
    own = [batch[SHARES[rank]] for batch in batches]
    torch.save(hear(norm, own, gradient[SHARES[rank]]), path / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("momentum", [0.1, pytest.param(None, marks=pytest.mark.slow)])
def test_two_ranks_normalise_as_one_does(momentum: float | None, tmp_path: Path) -> None:
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch"])
    meeting = f"file://{tmp_path / 'meeting'}"
    processes = [context.Process(target=_one_rank, args=(rank, meeting, momentum, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(DEADLINE_SECONDS)
        process.kill()
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    batches, gradient = draw_batches()
    # The reference in float64: float32 itself is not exact so far from zero.
    whole = hear(build_norm(momentum).double(), [batch.double() for batch in batches], gradient.double())
    for name in ("output", "by_x", "evaluated"):
        joined = torch.cat([rank[name] for rank in ranks]).double()
        torch.testing.assert_close(joined, whole[name], rtol=1e-3, atol=2e-3)
    for name in ("by_weight", "by_bias"):
        torch.testing.assert_close((ranks[0][name] + ranks[1][name]).double(), whole[name], rtol=1e-3, atol=1e-2)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(ranks[0][name], ranks[1][name])
        torch.testing.assert_close(ranks[0][name].to(whole[name].dtype), whole[name], rtol=1e-5, atol=1e-5)


def test_in_evaluation_it_asks_nobody() -> None:
    norm = build_norm(0.1).eval()
    x = torch.randn(2, 5, 3, 4)
    expected = norm(x)
    synchronise_norms(nn.Sequential(norm))
    assert torch.equal(norm(x), expected)


def test_all_norms_of_a_model_are_turned_and_nothing_else() -> None:
    model = nn.Sequential(nn.Conv2d(1, 5, 3), nn.Sequential(build_norm(0.1)), nn.Dropout())
    before = copy.deepcopy(model.state_dict())
    synchronise_norms(model)
    kinds = [type(module).__name__ for module in model.modules() if not isinstance(module, nn.Sequential)]
    assert kinds == ["Conv2d", "SynchronisedBatchNorm2d", "Dropout"]
    assert model.state_dict().keys() == before.keys()
