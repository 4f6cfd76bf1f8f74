"""Matrices that bring embeddings onto frames: as torch's resampling, and by both clocks, checked with a pencil."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from desed_task.models.embedding import EmbeddingShape, alignment, nearest, pooled

FRAMES, TIME_POOLING = 156, 4  # of the DESED baseline: 10 s, 64 ms each
# (frames, step, first) of 10 s on mel frames of 16 ms; the numbers of tests/embeddings/test_ears.py
AST = EmbeddingShape(101, 1, 100 / 16, (75 + 12.5) / 16)
PANNS = EmbeddingShape(125, 1, 80 / 16, 35 / 16)
SEGMENTS = EmbeddingShape(31, 1, 320 / 16, 155 / 16)
FASTER = EmbeddingShape(624, 1, 1.0)
ODDLY_FASTER = EmbeddingShape(400, 1, 1.57, 0.3)
CLOCKS = {"ast": AST, "panns": PANNS, "segments": SEGMENTS, "faster": FASTER, "oddly faster": ODDLY_FASTER}
every_clock = pytest.mark.parametrize("name", CLOCKS)
SIZES = [*range(1, 40), 101, 125, 155, 156, 157, 312, 496, 1214]


def random_values(frames: int) -> Tensor:
    return torch.randn(2, frames, 3, generator=torch.Generator().manual_seed(frames))


@pytest.mark.parametrize("frames", [1, 2, 7, 31, 149, 156, 250, 313])
def test_pooled_is_the_adaptive_average_of_torch(frames: int) -> None:
    for embedding_frames in SIZES:
        values = random_values(embedding_frames)
        expected = functional.adaptive_avg_pool1d(values.transpose(1, 2), frames).transpose(1, 2)
        weights = pooled(EmbeddingShape(embedding_frames, 3), frames)
        torch.testing.assert_close(weights @ values, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 7, 31, 149, 156, 250, 313])
def test_nearest_is_the_exact_nearest_of_torch_also_on_ties(frames: int) -> None:
    # A tie: the middle of frame 74 of 149 is the border of embedding frames 2 and 3 of 6.
    for embedding_frames in SIZES:
        values = random_values(embedding_frames)
        size = (3, frames)  # as the published code has it, an image of dim x frames
        images = functional.interpolate(values.transpose(1, 2)[:, None], size=size, mode="nearest-exact")
        weights = nearest(EmbeddingShape(embedding_frames, 3), frames)
        torch.testing.assert_close(weights @ values, images[:, 0].transpose(1, 2), atol=1e-6, rtol=0)


def test_pooled_and_nearest_by_hand() -> None:
    #  five embedding frames   | 0 | 1 | 2 | 3 | 4 |
    #  two frames              |    0    |    1    |
    shape = EmbeddingShape(5, 1)
    third = 1 / 3
    torch.testing.assert_close(
        pooled(shape, 2), torch.tensor([[third, third, third, 0, 0], [0, 0, third, third, third]])
    )
    assert nearest(shape, 2).argmax(dim=1).tolist() == [1, 3]  # middles at 1.25 and 3.75


def test_alignment_by_hand() -> None:
    #  mel frames          0   1   2   3   4   5   6   7
    #  middles of frames         1.5             5.5
    #  embedding             1       3       5       7       halfway between the first two, a quarter behind the third
    slower = alignment(EmbeddingShape(4, 1, 2.0, 1.0), 2, 3 + 1)
    assert alignment(EmbeddingShape(4, 1, 4.0, 1.5), 2, 4).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    # twice as fast: the mean over two places of a frame, 0.5 and 2.5, 4.5 and 6.5
    expected = [[(1 + 0.25) / 2, 0.75 / 2, 0, 0], [0, 0.25 / 2, (0.75 + 0.25) / 2, 0.75 / 2]]
    torch.testing.assert_close(slower, torch.tensor(expected))
    # a frame of two mel frames, 1.5 = 1 + .25 * 2: a quarter of the way
    assert alignment(EmbeddingShape(4, 1, 2.0, 0.0), 1, 2).tolist() == [[0.75, 0.25, 0, 0]]


@every_clock
def test_every_frame_is_a_mean_of_embedding_frames(name: str) -> None:
    weights = alignment(CLOCKS[name], FRAMES, TIME_POOLING)
    assert weights.shape == (FRAMES, CLOCKS[name].frames)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(FRAMES))
    assert weights.min() >= 0
    inside = (weights.sum(dim=0) > 0)[1:-1]  # no embedding frame within the clip goes unheard
    first, last = (weights.sum(dim=0) > 0).nonzero().flatten()[[0, -1]].tolist()
    assert inside[first : last - 1].all()


@every_clock
def test_a_ramp_in_time_comes_back_as_the_same_ramp(name: str) -> None:
    shape = CLOCKS[name]
    assert shape.step is not None
    middles = shape.first + shape.step * np.arange(shape.frames)
    times = (np.arange(FRAMES) + 0.5) * TIME_POOLING - 0.5
    ramp = alignment(shape, FRAMES, TIME_POOLING).double().numpy() @ middles
    half = TIME_POOLING / 2
    interior = (times - half >= middles[0]) & (times + half <= middles[-1])
    assert interior.sum() >= FRAMES - 12
    np.testing.assert_allclose(ramp[interior], times[interior], atol=1e-3)
    # At the ends it stays what the first and the last embedding frame say.
    np.testing.assert_allclose(ramp[times + half < middles[0]], middles[0], atol=1e-3)
    np.testing.assert_allclose(ramp[times - half > middles[-1]], middles[-1], atol=1e-3)


@pytest.mark.parametrize(("shape", "seconds"), [(AST, 0.1), (PANNS, 0.08)])
def test_an_onset_marked_by_a_published_embedding_is_on_the_frame_that_holds_it(
    shape: EmbeddingShape, seconds: float
) -> None:
    marked = round(5.0 / seconds)  # the embedding frame about five seconds into the clip
    assert shape.step is not None
    mel_frame = shape.first + shape.step * marked
    heard = alignment(shape, FRAMES, TIME_POOLING)[:, marked]
    assert abs(int(heard.argmax()) - mel_frame / TIME_POOLING) <= 1


def test_by_shares_of_the_clip_ast_is_heard_too_early_and_by_clocks_in_time() -> None:
    # Its 101 columns are of 10.1 s, the first centred on 87.5 ms: a frame hears what is about .1 s later.
    times = (np.arange(FRAMES) + 0.5) * TIME_POOLING - 0.5
    assert AST.step is not None
    middles = AST.first + AST.step * np.arange(AST.frames)
    for weights in (nearest(AST, FRAMES), pooled(AST, FRAMES)):
        early = weights.double().numpy() @ middles - times
        assert early.mean() == pytest.approx(6.5, abs=0.1)  # mel frames of 16 ms
        assert early.max() > 11
    by_clocks = alignment(AST, FRAMES, TIME_POOLING).double().numpy() @ middles - times
    assert np.abs(by_clocks[2:-2]).max() < 1e-3


def test_one_embedding_frame_stands_everywhere() -> None:
    assert alignment(EmbeddingShape(1, 1, 10.0, 3.0), 4, 4).flatten().tolist() == [1, 1, 1, 1]


def test_only_what_is_timed_can_be_aligned() -> None:
    with pytest.raises(AssertionError, match="only embeddings that are timed"):
        alignment(EmbeddingShape(3, 1), 4, 4)
