"""Prediction: waveforms of any lengths, in batches of windows, to the Scores that one window at a time would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from desed_task import prediction
from desed_task.batch import Embedding, Inputs, Predictions
from desed_task.chunking import Chunking
from desed_task.labels import LabelSet
from desed_task.prediction import predict, predict_clip_logits
from desed_task.timeline import FrameGrid
from desed_task.windowing import Windowing

GRID = FrameGrid(sample_rate=1000, hop_length=10, time_pooling=10)  # frames of 100 ms
LABELS = LabelSet(["loud", "quiet"])
WINDOWING = Windowing(GRID, window_seconds=1.0, overlap_frames=4)  # 10 frames, 600 ms apart
CPU = torch.device("cpu")


class Loudness(nn.Module):
    """Frame logit of `loud`: 100 times the mean of the frame; of `quiet`: the opposite. Counts what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[int] = []
        self.modes: set[bool] = set()

    def forward(self, inputs: Inputs) -> Predictions:
        self.heard.append(len(inputs.mel))
        self.modes.add(self.training)
        loud = 100 * inputs.mel
        strong = torch.stack([loud, -loud], dim=2)
        return Predictions(strong, strong.amax(dim=1))


def frame_means(waveform: Tensor) -> Tensor:
    """(batch, samples) -> (batch, frames)."""
    frames: Tensor = waveform[:, : waveform.shape[1] // 100 * 100].reshape(len(waveform), -1, 100).mean(dim=2)
    return frames


def hear(waveform: Tensor, _stored: Mapping[str, Embedding]) -> Inputs:
    """What the model hears."""
    return Inputs(frame_means(waveform))


def staircase(num_frames: int) -> NDArray[np.float32]:
    """Frame n says n / 1000."""
    return np.repeat(np.arange(num_frames, dtype=np.float32) / 1000, 100)


def test_recordings_of_any_length_keep_their_times() -> None:
    waveforms = [("short", staircase(3)), ("window", staircase(10)), ("long", staircase(47)), ("next", staircase(12))]
    scores = predict(Loudness(), hear, waveforms, WINDOWING, LABELS, CPU)
    assert list(scores) == ["short", "window", "long", "next"]
    for audio_id, waveform in waveforms:
        clip = scores[audio_id]
        num_frames = len(waveform) // 100
        assert clip.frame_values is not None
        assert clip.frame_values.shape == (num_frames, 2)
        assert clip.duration == pytest.approx(num_frames / 10)
        expected = 1 / (1 + np.exp(-np.arange(num_frames) / 10))
        np.testing.assert_allclose(clip.frame_values[:, 0], expected, rtol=1e-4)
        np.testing.assert_allclose(clip.frame_values[:, 1], 1 - expected, rtol=1e-3, atol=1e-5)
        assert clip.clip_values[0] == pytest.approx(expected[-1], rel=1e-4)


def test_short_recordings_share_batches_and_long_ones_are_split() -> None:
    model = Loudness()
    predict(model, hear, [(str(number), staircase(10)) for number in range(20)], WINDOWING, LABELS, CPU)
    assert model.heard == [8, 8, 4]
    model = Loudness()
    predict(model, hear, [("long", staircase(10 + 6 * 20))], WINDOWING, LABELS, CPU)
    assert model.heard == [8, 8, 5]


def test_the_size_of_the_batches_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    waveforms = [(str(number), staircase(5 + 9 * number)) for number in range(7)]
    together = predict(Loudness(), hear, waveforms, WINDOWING, LABELS, CPU)
    monkeypatch.setattr(prediction, "BATCH_WINDOWS", 1)
    alone = predict(Loudness(), hear, waveforms, WINDOWING, LABELS, CPU)
    for audio_id, clip in together.items():
        np.testing.assert_allclose(clip.frame_values, alone[audio_id].frame_values, rtol=1e-6)
        np.testing.assert_allclose(clip.clip_values, alone[audio_id].clip_values, rtol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_hears_in_eval_mode_and_is_left_as_it_was(training: bool) -> None:
    model = Loudness()
    model.train(training)
    predict(model, hear, [("a", staircase(10))], WINDOWING, LABELS, CPU)
    assert model.modes == {False}
    assert model.training is training


def test_the_mode_is_restored_when_a_recording_fails() -> None:
    def recordings() -> object:
        yield "a", staircase(10)
        raise OSError("gone")

    model = Loudness()
    with pytest.raises(OSError, match="gone"):
        predict(model, hear, recordings(), WINDOWING, LABELS, CPU)  # type: ignore[arg-type]
    assert model.training


def test_nothing_to_predict_is_no_scores() -> None:
    assert predict(Loudness(), hear, [], WINDOWING, LABELS, CPU) == {}


class ClipsOnly(Loudness):
    """The same without frames."""

    def forward(self, inputs: Inputs) -> Predictions:
        return Predictions(None, super().forward(inputs).weak_logits)


CHUNKS = Chunking(GRID, window_seconds=1.0, hop_seconds=0.5)


def test_a_model_without_frames_gives_scores_without_frames() -> None:
    scores = predict(ClipsOnly(), hear, [("a", staircase(15)), ("b", staircase(3))], CHUNKS, LABELS, CPU)
    assert scores["a"].frame_values is None
    # chunks 0-9, 5-14 and 10-14 played twice: the largest frames say 9, 14 and 14 tenths
    assert scores["a"].clip_values[0] == pytest.approx(1 / (1 + np.exp(-(0.9 + 1.4 + 1.4) / 3)), rel=1e-5)
    assert scores["b"].clip_values[0] == pytest.approx(1 / (1 + np.exp(-0.2)), rel=1e-5)


def test_clip_logits_are_pooled_by_the_view() -> None:
    waveforms = [("a", staircase(15)), ("b", staircase(3)), ("c", staircase(10))]
    logits = predict_clip_logits(ClipsOnly(), hear, waveforms, CHUNKS, CPU, batch_windows=2)
    assert list(logits) == ["a", "b", "c"]
    assert [float(clip[0]) for clip in logits.values()] == pytest.approx([3.7 / 3, 0.2, 0.9], rel=1e-5)
    largest = predict_clip_logits(Loudness(), hear, waveforms, WINDOWING, CPU)
    assert [float(clip[0]) for clip in largest.values()] == pytest.approx([1.4, 0.2, 0.9], rel=1e-5)


def test_windows_of_several_recordings_fill_every_batch() -> None:
    model = ClipsOnly()
    predict_clip_logits(model, hear, [(str(n), staircase(15)) for n in range(5)], CHUNKS, CPU, batch_windows=4)
    assert model.heard == [4, 4, 4, 3]  # 5 recordings of 3 chunks


def test_frames_are_fitted_onto_the_grid() -> None:
    def padded(waveform: Tensor) -> Tensor:
        return torch.cat([frame_means(waveform), torch.full((len(waveform), 3), 9.0)], dim=1)

    scores = predict(
        Loudness(), lambda waveform, _: Inputs(padded(waveform)), [("a", staircase(10))], CHUNKS, LABELS, CPU
    )
    assert scores["a"].frame_values is not None
    expected = 1 / (1 + np.exp(-np.arange(10) / 10))
    np.testing.assert_allclose(scores["a"].frame_values[:, 0], expected, rtol=1e-4)


class Tens:
    """Stored embeddings that are 10 times the number in the name of the recording."""

    fingerprint = "tens"

    def read(self, audio_ids: Sequence[str]) -> Embedding:
        return Embedding(torch.tensor([10.0 * float(name) for name in audio_ids])[:, None, None], is_timed=False)


def test_stored_embeddings_are_those_of_whole_recordings() -> None:
    heard: list[list[float]] = []

    def listen(waveform: Tensor, stored: Mapping[str, Embedding]) -> Inputs:
        heard.append(stored["tens"].values.flatten().tolist() if stored else [])
        return Inputs(frame_means(waveform))

    # Windows hold 10 frames: recording 3 is two of them, which no stored embedding is of.
    lengths = {"1": 10, "2": 4, "3": 12, "4": 10}
    waveforms = [(name, staircase(frames)) for name, frames in lengths.items()]
    predict(Loudness(), listen, waveforms, WINDOWING, LABELS, CPU, batch_windows=2, stored={"tens": Tens()})
    assert heard == [[10.0, 20.0], [], [40.0]]
