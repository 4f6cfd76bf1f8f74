"""Gate, dropout and pool in one: what the layers compute one after another, and masks that are drawn per element."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from desed_task.models import gate_and_pool as fused
from desed_task.models.blocks import GLU, ConvolutionBlocks
from desed_task.models.gate_and_pool import gate_and_pool

HALF, LEVELS = 128, 256


def layers(x: Tensor, gate: GLU, pool: tuple[int, int]) -> Tensor:
    pooled: Tensor = nn.AvgPool2d(pool)(gate(x))
    return pooled


def mask_of(shape: tuple[int, ...], levels_kept: int = HALF, seed: int = 0) -> Tensor:
    """1 where an element survives, read off an identity: a linear map to 1 and a gate that is open."""
    torch.manual_seed(seed)
    channels = shape[1]
    x = torch.full(shape, 100.0)
    return gate_and_pool(x, torch.zeros(channels, channels), torch.ones(channels), (1, 1), levels_kept, 1.0)


@pytest.mark.parametrize(
    ("shape", "pool"),
    [((3, 16, 63, 32), (2, 2)), ((5, 8, 15, 8), (1, 2)), ((2, 1, 5, 7), (2, 3)), ((1, 4, 2, 2), (2, 2))],
)
@pytest.mark.parametrize("chunk_bytes", [1, 10_000, 1 << 30])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_without_dropout_values_and_gradients_are_those_of_the_layers(
    shape: tuple[int, ...],
    pool: tuple[int, int],
    chunk_bytes: int,
    memory_format: torch.memory_format,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fused, "_CHUNK_BYTES", chunk_bytes)
    torch.manual_seed(0)
    x = torch.randn(shape).to(memory_format=memory_format).requires_grad_()
    gate = GLU(shape[1])
    wanted = layers(x, gate, pool)
    found = gate_and_pool(x, gate.linear.weight, gate.linear.bias, pool, LEVELS, 1.0)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    upstream = torch.randn_like(wanted)
    of_layers = torch.autograd.grad(wanted, [x, *gate.parameters()], upstream)
    torch.testing.assert_close(torch.autograd.grad(found, [x, *gate.parameters()], upstream), of_layers, **NEAR)


NEAR = {"rtol": 1e-4, "atol": 1e-5}


def test_gradients_know_the_mask() -> None:
    x = torch.randn(2, 4, 6, 8, requires_grad=True)
    weight, bias = torch.zeros(4, 4), torch.ones(4)
    gated = gate_and_pool(x, weight, bias, (1, 1), HALF, 2.0)  # mask * 2 * sigmoid(x)
    gated.sum().backward()
    gate = torch.sigmoid(x.detach())
    twice_the_mask = gated.detach() / gate
    assert set(twice_the_mask.round(decimals=4).unique().tolist()) == {0.0, 2.0}
    torch.testing.assert_close(x.grad, twice_the_mask * gate * (1 - gate))


@pytest.mark.parametrize("levels_kept", [HALF, 179, 64, 1])
def test_the_share_kept(levels_kept: int) -> None:
    mask = mask_of((8, 16, 50, 32), levels_kept)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert mask.mean().item() == pytest.approx(levels_kept / LEVELS, abs=0.004)  # 4 sigma of 205,000


@pytest.mark.parametrize("levels_kept", [HALF, 179])
@pytest.mark.parametrize("axis", range(4))
def test_neighbours_along_every_axis_are_independent(axis: int, levels_kept: int) -> None:
    mask = mask_of((8, 16, 50, 32), levels_kept)
    length, both_kept = mask.shape[axis], (levels_kept / LEVELS) ** 2
    for distance in (1, 2, 4):
        pairs = mask.narrow(axis, 0, length - distance) * mask.narrow(axis, distance, length - distance)
        assert pairs.mean().item() == pytest.approx(both_kept, abs=0.006)


def test_elements_of_one_random_word_are_independent() -> None:
    in_memory = mask_of((1, 16, 80, 100)).permute(0, 2, 3, 1).flatten()
    word_stride = len(in_memory) // 32  # bit k of a word decides about element k * stride + word
    for distance in (word_stride, 2 * word_stride, 31 * word_stride):
        pairs = in_memory[:-distance] * in_memory[distance:]
        assert pairs.mean().item() == pytest.approx(0.25, abs=0.03)


def test_each_call_draws_anew_and_the_seed_decides() -> None:
    shape = (4, 16, 50, 32)
    one, other = mask_of(shape, seed=1), mask_of(shape, seed=2)
    assert torch.equal(one, mask_of(shape, seed=1))
    assert (one * other).mean().item() == pytest.approx(0.25, abs=0.006)
    weight, bias, x = torch.zeros(16, 16), torch.ones(16), torch.full(shape, 100.0)
    student, teacher = (gate_and_pool(x, weight, bias, (1, 1), HALF, 1.0) for _ in range(2))
    assert (student * teacher).mean().item() == pytest.approx(0.25, abs=0.006)


def test_the_blocks_draw_masks_at_their_rate() -> None:
    torch.manual_seed(0)
    blocks = ConvolutionBlocks(1, (8,), 3, ((1, 1),), "glu", 0.3, 0.1)
    gone = (blocks(torch.randn(16, 1, 60, 40)) == 0).float()
    assert gone.mean().item() == pytest.approx(77 / 256, abs=0.005)
    blocks.eval()
    assert (blocks(torch.randn(2, 1, 60, 40)) == 0).sum() == 0


def test_float64_keeps_its_digits() -> None:
    torch.manual_seed(0)
    x, gate = torch.randn(3, 4, 5, 7, dtype=torch.float64, requires_grad=True), GLU(4).double()
    found = gate_and_pool(x, gate.linear.weight, gate.linear.bias, (2, 2), LEVELS, 1.0)
    wanted = layers(x, gate, (2, 2))
    gradients = [torch.autograd.grad(y.sum(), [x, *gate.parameters()]) for y in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_bfloat16_goes_the_same_way() -> None:
    torch.manual_seed(0)
    x, gate = torch.randn(3, 8, 6, 8, requires_grad=True), GLU(8)
    wanted = layers(x, gate, (2, 2))
    found = gate_and_pool(x.bfloat16(), gate.linear.weight, gate.linear.bias, (2, 2), LEVELS, 1.0)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, rtol=0.03, atol=0.03)
    of_layers = torch.autograd.grad(wanted.sum(), [x, *gate.parameters()])
    of_fused = torch.autograd.grad(found.float().sum(), [x, *gate.parameters()])
    assert [gradient.dtype for gradient in of_fused] == [torch.float32] * 3
    torch.testing.assert_close(of_fused, of_layers, rtol=0.05, atol=0.1)
