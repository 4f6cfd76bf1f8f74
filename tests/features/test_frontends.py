"""What every front-end promises: shapes, stages, clips on their own, and the same numbers from its exportable form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from every_frontend import FRONTENDS, build_frontend, noise
from torch import Tensor, nn

from desed_task.export import trace_graph
from desed_task.features.frontend import StagedFrontend
from desed_task.features.fsd50k import FSD50KSpectrogram
from desed_task.onnx_runtime import onnxruntime

LENGTHS = (
    1,
    2,
    10,
    161,
    219,
    220,
    221,
    399,
    400,
    401,
    439,
    440,
    441,
    559,
    560,
    561,
    1023,
    1024,
    1025,
    1999,
    2048,
    7777,
)

every_frontend = pytest.mark.parametrize("name", FRONTENDS)


class _Heard(nn.Module):
    """A graph with the two outputs that an exported one has."""

    def __init__(self, frontend: StagedFrontend) -> None:
        super().__init__()
        self.frontend = frontend

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        features = self.frontend(waveform)
        return features, features.mean(dim=1)


def assert_heard_alike(found: Tensor, expected: Tensor, frontend: StagedFrontend) -> None:
    """Equal to 1e-4 of the front-end's unit.

    Of plain bins those within 30 dB of the loudest: noise comes arbitrarily close to 0 in a single bin, whose dB are
    then those of rounding.
    """
    assert found.shape == expected.shape
    difference = (found - expected).abs()
    if isinstance(frontend, FSD50KSpectrogram):
        audible = expected > expected.amax(dim=(1, 2), keepdim=True) - 30.0
        assert audible.float().mean() > 0.5
        difference = difference[audible]
    assert float(difference.max()) < 1e-4


@every_frontend
def test_its_frames_and_bands_are_as_many_as_its_options_say(name: str) -> None:
    options, frontend = FRONTENDS[name][0], build_frontend(name)
    for num_samples in LENGTHS:
        expected = (2, options.num_frames(num_samples), options.num_bands)
        assert frontend(torch.zeros(2, num_samples)).shape == expected, num_samples


@every_frontend
def test_at_least_one_frame_and_one_more_per_hop(name: str) -> None:
    options = FRONTENDS[name][0]
    assert options.num_frames(1) >= 1
    assert options.sample_rate // options.hop_length in range(20, 101)
    if getattr(options, "target_frames", None) is None:
        assert options.num_frames(50_000 + options.hop_length) == options.num_frames(50_000) + 1


@every_frontend
def test_three_stages_make_the_whole(name: str) -> None:
    frontend, waveform = build_frontend(name), noise(2, 9_000)
    spectrum = frontend.spectrum(waveform)
    logarithm = frontend.compress(spectrum)
    assert (spectrum >= 0).all()
    assert torch.equal(frontend.normalise(logarithm), frontend(waveform))
    assert torch.equal(frontend.scale(spectrum), frontend(waveform))
    assert not torch.equal(spectrum, logarithm[:, : spectrum.shape[1]])


@every_frontend
@pytest.mark.parametrize("exportable", [False, True], ids=["fft", "exportable"])
def test_clips_of_a_batch_do_not_know_one_another(name: str, exportable: bool) -> None:
    frontend, clips = build_frontend(name, exportable), noise(3, 9_000)
    clips[1] *= 9
    alone = torch.cat([frontend(clip[None]) for clip in clips])
    assert_heard_alike(frontend(clips), alone, frontend)


@every_frontend
@pytest.mark.parametrize("num_samples", [10, 700, 24_001])
def test_both_forms_agree_at_any_length(name: str, num_samples: int) -> None:
    frontend, waveform = build_frontend(name), noise(2, num_samples)
    assert_heard_alike(build_frontend(name, exportable=True)(waveform), frontend(waveform), frontend)


@every_frontend
@pytest.mark.parametrize("exportable", [False, True], ids=["fft", "exportable"])
def test_silence_a_click_and_ten_samples_give_finite_numbers(name: str, exportable: bool) -> None:
    frontend = build_frontend(name, exportable)
    click = torch.zeros(1, 9_000)
    click[0, 4_000] = 1.0
    for waveform in (torch.zeros(1, 9_000), click, noise(1, 10), 1e-30 * noise(1, 9_000), 100.0 * noise(1, 9_000)):
        assert torch.isfinite(frontend(waveform)).all()


@every_frontend
def test_silence_sounds_the_same_everywhere(name: str) -> None:
    frontend = build_frontend(name)
    within = frontend.compress(frontend.spectrum(torch.zeros(1, 9_000)))[:, :10]
    assert within.unique().numel() == 1


@every_frontend
def test_nothing_of_it_is_in_a_state_dict(name: str) -> None:
    assert not build_frontend(name).state_dict()
    assert not list(build_frontend(name, exportable=True).parameters())


@every_frontend
def test_the_exported_graph_hears_the_same_at_other_lengths_and_batches(name: str) -> None:
    graph = trace_graph(_Heard(build_frontend(name, exportable=True)))
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    frontend = build_frontend(name)
    for batch, num_samples in ((1, 24_000), (3, 15_001), (2, 300)):
        waveform = noise(batch, num_samples)
        features = session.run(None, {session.get_inputs()[0].name: waveform.numpy()})[0]
        assert_heard_alike(torch.from_numpy(np.asarray(features)), frontend(waveform), frontend)
