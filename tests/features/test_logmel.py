"""The log-mel front-end against torchaudio's transforms, which the published baselines use."""

from __future__ import annotations

import pytest
import torch
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from desed_task.errors import OptionsError
from desed_task.features.logmel import DB_RANGE, LogMel, LogMelOptions
from desed_task.options import check_options

SHORT = LogMelOptions(n_window=400, hop_length=160, n_mels=40)
DEMO = LogMelOptions(n_window=1024, hop_length=512, n_mels=64)
BASELINE = LogMelOptions()


def sound(batch: int, num_samples: int) -> torch.Tensor:
    """Noise whose level falls by 60 dB over the clip, so that both ends of the range occur."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.2 * torch.randn(batch, num_samples, generator=generator)
    return noise * torch.logspace(0, -3, num_samples)


def reference_decibel(waveform: torch.Tensor, options: LogMelOptions) -> torch.Tensor:
    """What the published baselines compute before their scaler: (batch, mel_frames, mel_bands)."""
    mel = MelSpectrogram(
        sample_rate=options.sample_rate,
        n_fft=options.n_window,
        win_length=options.n_window,
        hop_length=options.hop_length,
        f_min=options.f_min,
        f_max=options.f_max,
        n_mels=options.n_mels,
        window_fn=torch.hamming_window,
        wkwargs={"periodic": False},
        power=1,
    )
    to_decibel = AmplitudeToDB(stype="amplitude")
    to_decibel.amin = 1e-5
    return to_decibel(mel(waveform)).clamp(*DB_RANGE).transpose(1, 2)


@pytest.mark.parametrize("options", [BASELINE, DEMO, SHORT], ids=["baseline", "demo", "short"])
@pytest.mark.parametrize("num_samples", [160_000, 37_777])
@pytest.mark.parametrize("exportable", [False, True], ids=["fft", "exportable"])
def test_it_equals_torchaudio(options: LogMelOptions, num_samples: int, exportable: bool) -> None:
    waveform = sound(2, num_samples)
    mel = LogMel(options, exportable).spectrum(waveform)
    decibel = 20 * torch.log10(mel.clamp(min=1e-5))
    expected = reference_decibel(waveform, options)
    audible = expected > DB_RANGE[0] + 20
    assert audible.float().mean() > 0.5
    assert (decibel.clamp(*DB_RANGE) - expected)[audible].abs().max() < 1e-4


def test_the_published_clip_has_626_mel_frames_of_128_bands() -> None:
    assert LogMel(BASELINE)(torch.zeros(1, 160_000)).shape == (1, 626, 128)


def test_the_stages_are_decibel_within_limits_and_then_the_clips_range() -> None:
    frontend, waveform = LogMel(BASELINE), sound(2, 16_000)
    decibel = frontend.compress(frontend.spectrum(waveform))
    assert decibel.min() >= DB_RANGE[0]
    assert torch.equal(frontend.normalise(decibel), frontend(waveform))
    assert torch.equal(frontend.scale(frontend.spectrum(waveform)), frontend(waveform))
    assert BASELINE.num_bands == decibel.shape[2]
    assert BASELINE.num_frames(16_000) == decibel.shape[1]


@pytest.mark.parametrize("num_samples", [1, 300, 600, 1023, 1024, 1025, 2048, 16_000, 37_777, 160_001])
@pytest.mark.parametrize("options", [BASELINE, DEMO], ids=["baseline", "demo"])
def test_both_forms_agree_at_any_length(options: LogMelOptions, num_samples: int) -> None:
    waveform = sound(2, num_samples)
    by_fft, exportable = LogMel(options)(waveform), LogMel(options, exportable=True)(waveform)
    assert by_fft.shape == (2, num_samples // options.hop_length + 1, options.n_mels)
    torch.testing.assert_close(exportable, by_fft, rtol=0, atol=2e-6)


@pytest.mark.parametrize("scaler_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_every_clip_fills_the_scaler_range(scaler_range: tuple[float, float]) -> None:
    clips = torch.cat([sound(1, 32_000), 0.01 * sound(1, 32_000)])
    scaled = LogMel(LogMelOptions(scaler_range=scaler_range))(clips)
    for clip in scaled:
        assert clip.min().item() == pytest.approx(scaler_range[0], abs=1e-6)
        assert clip.max().item() == pytest.approx(scaler_range[1], abs=1e-6)


def test_clips_of_a_batch_do_not_know_one_another() -> None:
    frontend, clips = LogMel(BASELINE), sound(3, 20_000)
    clips[1] *= 30
    alone = torch.cat([frontend(clip[None]) for clip in clips])
    torch.testing.assert_close(frontend(clips), alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("exportable", [False, True])
def test_silence_is_the_lower_end_of_the_range(exportable: bool) -> None:
    assert (LogMel(BASELINE, exportable)(torch.zeros(1, 16_000)) == 0.0).all()


def test_the_front_end_adds_nothing_to_a_state_dict() -> None:
    assert not LogMel(BASELINE).state_dict()


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"f_max": 9000.0}, "half the sample rate"),
        ({"f_min": 8000.0}, "not below f_max"),
        ({"n_window": 1025}, "odd"),
        ({"scaler_range": [1.0, 0.0]}, "does not rise"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tree: dict[str, object], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        check_options(tree, LogMelOptions)
