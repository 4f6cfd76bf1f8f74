"""What is done to a clip is done to all that is heard of it: features, embeddings, what learning embedders hear."""

from __future__ import annotations

import torch

from desed_task.batch import Embedding, Inputs


def two_clips() -> Inputs:
    """12 mel frames, 4 embedding frames, one embedding of the clip, 6 frames of a learning embedder's front-end."""
    time = torch.arange(12.0)
    clips = torch.stack([time, time + 100])
    return Inputs(
        clips[:, :, None].repeat(1, 1, 3),
        {
            "frames": Embedding(clips[:, 1::3, None].clone(), is_timed=True),
            "clip": Embedding(torch.tensor([[[1.0]], [[2.0]]]), is_timed=False),
        },
        {"learning": clips[:, ::2, None].clone()},
    )


def test_what_is_hidden_is_hidden_in_everything_that_is_timed() -> None:
    inputs = two_clips()
    hidden = torch.zeros(2, 12, dtype=torch.bool)
    hidden[0, 3:6] = True  # the second of four embedding frames, and half of the second and the third pair
    mel = torch.where(hidden[:, :, None], -1.0, inputs.mel)
    masked = inputs.mask(hidden, mel)
    torch.testing.assert_close(masked.mel, mel)
    assert masked.embeddings["frames"].values[:, :, 0].tolist() == [[1, 0, 7, 10], [101, 104, 107, 110]]
    assert masked.embeddings["clip"].values.flatten().tolist() == [1, 2]
    assert masked.embedder_inputs["learning"][0, :, 0].tolist() == [0, 0, 0, 6, 8, 10]


def test_a_shift_moves_everything_that_is_timed_by_the_same_time() -> None:
    moved = two_clips().shift(torch.tensor([3, -6]))
    assert moved.mel[0, :4, 0].tolist() == [9, 10, 11, 0]
    assert moved.embeddings["frames"].values[:, :, 0].tolist() == [[10, 1, 4, 7], [107, 110, 101, 104]]
    assert moved.embeddings["clip"].values.flatten().tolist() == [1, 2]
    assert moved.embedder_inputs["learning"][1, :, 0].tolist() == [106, 108, 110, 100, 102, 104]


def test_a_mix_has_the_same_shares_of_everything() -> None:
    mixed = two_clips().mix(torch.tensor([1, 0]), torch.tensor([0.75, 1.0]))
    assert mixed.mel[:, 0, 0].tolist() == [25, 100]
    assert mixed.embeddings["frames"].values[:, 0, 0].tolist() == [26, 101]
    assert mixed.embeddings["clip"].values.flatten().tolist() == [1.25, 2]
    assert mixed.embedder_inputs["learning"][:, 0, 0].tolist() == [25, 100]


def test_portions_of_a_batch_are_joined_in_their_order() -> None:
    inputs = two_clips()
    stored = {"stored": Embedding(torch.zeros(2, 1, 1), is_timed=False)}
    joined = Inputs.joined([inputs.part(0, 2), inputs.part(1, 2)], stored)
    torch.testing.assert_close(joined.mel, inputs.mel)
    torch.testing.assert_close(joined.embeddings["frames"].values, inputs.embeddings["frames"].values)
    torch.testing.assert_close(joined.embedder_inputs["learning"], inputs.embedder_inputs["learning"])
    assert joined.embeddings.keys() == {"frames", "clip", "stored"}
