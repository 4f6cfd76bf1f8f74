"""Ears: front-end and embedders as one, in stages, with what was stored in place of what is computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from desed_task.batch import Embedding
from desed_task.embedders.build import BuiltEmbedder
from desed_task.embedders.options import ASTEmbedderOptions, NetworkOptions, PANNsEmbedderOptions
from desed_task.embeddings.ears import Ears
from desed_task.embeddings.embedder import Embedder, Hearing, Network
from desed_task.errors import CheckpointError, OptionsError
from desed_task.features.frontend import StagedFrontend
from desed_task.features.logmel import LogMelOptions
from desed_task.features.panns import PANNsOptions
from desed_task.models.cnn14 import Cnn14, Cnn14Options
from desed_task.models.tagger import InputShape
from desed_task.models.vgglike import VGGLikeOptions

SMALL = Cnn14Options(width=0.05)
WAVEFORM = 0.1 * torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0))


class Blocks(StagedFrontend):
    """waveform -> means of absolute values of 160 samples, 64 bands of them."""

    def spectrum(self, waveform: Tensor) -> Tensor:
        return waveform.abs().unflatten(1, (-1, 160)).mean(dim=2, keepdim=True).expand(-1, -1, 64)

    def compress(self, spectrum: Tensor) -> Tensor:
        return torch.log(spectrum + 1e-3)

    def normalise(self, logarithm: Tensor) -> Tensor:
        return logarithm / 5


def network() -> Network:
    torch.manual_seed(1)
    return Network(Cnn14(SMALL, InputShape(100, 64), 5), "frame")


def embedder() -> Embedder:
    return Embedder(Hearing(Blocks(), 16_000, 16_000), network())


def test_a_frozen_embedder_never_learns_and_is_in_no_checkpoint() -> None:
    holder = nn.ModuleDict({"ears": Ears(Blocks(), {"e": embedder()}), "model": nn.Linear(2, 2)})
    assert {name.split(".")[0] for name, _ in holder.named_parameters()} == {"model"}
    assert {name.split(".")[0] for name in holder.state_dict()} == {"model"}
    holder.train()
    modes = {part.training for part in holder["ears"].modules() if isinstance(part, nn.BatchNorm2d)}
    assert modes == {False}
    kept = [buffer.clone() for buffer in holder["ears"].buffers()]
    assert holder["ears"](WAVEFORM).embeddings["e"].values.requires_grad is False
    assert all(torch.equal(*pair) for pair in zip(kept, holder["ears"].buffers(), strict=True))


def test_freezing_changes_nothing_that_is_said() -> None:
    expected = network().eval()(Hearing(Blocks(), 16_000, 16_000)(WAVEFORM)).values
    torch.testing.assert_close(embedder()(WAVEFORM).values, expected)


def test_the_stages_are_the_whole_also_in_portions() -> None:
    ears = Ears(Blocks(), {"e": embedder()}, {"l": Hearing(Blocks(), 16_000, 16_000)})
    whole = ears(WAVEFORM)
    staged = ears.normalise(ears.compress(ears.spectrum(WAVEFORM, portions=2)))
    torch.testing.assert_close(whole.mel, staged.mel)
    torch.testing.assert_close(whole.embedder_inputs["l"], whole.mel)
    torch.testing.assert_close(whole.embeddings["e"].values, staged.embeddings["e"].values)


def test_what_is_stored_is_not_computed_and_a_spare_embedder_is_made_once() -> None:
    made: list[Embedder] = []

    def make() -> Embedder:
        made.append(embedder())
        return made[-1]

    ears = Ears(Blocks(), spare={"e": make})
    stored = {"e": Embedding(torch.ones(3, 12, 2), is_timed=True)}
    assert ears(WAVEFORM, stored).embeddings["e"] is stored["e"]
    assert made == []
    twice = [ears(WAVEFORM).embeddings["e"].values for _ in range(2)]
    torch.testing.assert_close(*twice)
    assert len(made) == 1


@pytest.mark.parametrize(
    ("options", "frames", "dim", "step", "first"),
    [
        # mel frames of the listener are 16 ms apart; those of the embedders 10 ms
        (PANNsEmbedderOptions(), 125, 2048, 80 / 16, 35 / 16),  # middles of 8 centred mel frames
        (PANNsEmbedderOptions(output="segments"), 31, 2048, 320 / 16, 155 / 16),
        (PANNsEmbedderOptions(features=PANNsOptions(sample_rate=32_000)), 125, 2048, 80 / 16, 35 / 16),
        (ASTEmbedderOptions(), 101, 768, 100 / 16, (75 + 12.5) / 16),  # 16 mel frames, the first from 0 to 25 ms
        (ASTEmbedderOptions(output="tokens"), 1214, 768, None, 0),
        (ASTEmbedderOptions(output="clip"), 1, 768, None, 0),
        (ASTEmbedderOptions(output="global"), 1, 527, None, 0),
        (PANNsEmbedderOptions(output="global"), 1, 2048, None, 0),
    ],
)
def test_embeddings_of_ten_seconds_on_the_detectors_clock(
    options: NetworkOptions, frames: int, dim: int, step: float | None, first: float
) -> None:
    shape = BuiltEmbedder(options, 16_000, 10.0).shape(LogMelOptions())
    assert (shape.frames, shape.dim) == (frames, dim)
    assert shape.step == (None if step is None else pytest.approx(step))
    assert shape.first == pytest.approx(first)


def test_an_embedder_hears_at_its_own_rate() -> None:
    tone = torch.sin(2 * torch.pi * 440 / 16_000 * torch.arange(32_000.0))[None]
    spectra = [
        BuiltEmbedder(PANNsEmbedderOptions(features=PANNsOptions(sample_rate=rate)), 16_000, 2.0).hearing()(tone)
        for rate in (16_000, 32_000)
    ]
    assert spectra[0].shape == spectra[1].shape == (1, 201, 64)
    bands = [int(spectrum[0, 100].argmax()) for spectrum in spectra]
    # Slaney's scale is linear below 1 kHz, so 440 Hz lies in band (440 - 50) / width - 1, the width that of 64 bands.
    assert bands == [8, 6]  # 7.5 up to 8 kHz, 6.2 up to 14 kHz


def test_a_network_without_embeddings_is_refused() -> None:
    options = NetworkOptions(features=LogMelOptions(), model=VGGLikeOptions(), output="tokens")
    with pytest.raises(OptionsError, match="VGGLike offers no embedding 'tokens'"):
        BuiltEmbedder(options, 16_000, 1.0).network()


def test_a_network_that_cannot_hear_its_features_is_refused() -> None:
    options = NetworkOptions(features=LogMelOptions(n_mels=16), model=VGGLikeOptions())
    with pytest.raises(OptionsError, match="embedders: the VGG-like network needs at least 34 mel bands"):
        BuiltEmbedder(options, 16_000, 1.0).network()


def test_weights_must_be_named() -> None:
    with pytest.raises(CheckpointError, match="no weights are named for panns"):
        BuiltEmbedder(PANNsEmbedderOptions(model=SMALL), 16_000, 1.0).embedder()
