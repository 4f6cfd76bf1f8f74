"""Kaldi's filter banks against torchaudio's, and against the published figures of a sine."""

from __future__ import annotations

import math

import pytest
import torch
from every_frontend import figures, noise, sine
from torchaudio.compliance.kaldi import fbank, get_mel_banks

from desed_task.errors import OptionsError
from desed_task.features.kaldi import POWER_FLOOR, Kaldi, KaldiOptions, kaldi_triangles
from desed_task.options import check_options

AST = KaldiOptions(target_frames=1024)
PSLA = KaldiOptions(target_frames=1056, mean=-4.6476, std=4.5699, std_scale=1.0)

both_forms = pytest.mark.parametrize("exportable", [False, True], ids=["fft", "exportable"])


def reference(waveform: torch.Tensor, options: KaldiOptions) -> torch.Tensor:
    """What PSLA and AST compute, clip by clip: (batch, mel_frames, mel_bands)."""
    settings = {"num_mel_bins": options.n_mels, "low_freq": options.f_min, "high_freq": options.f_max or 0.0}
    clips = [
        fbank(
            (clip - clip.mean())[None],
            htk_compat=True,
            sample_frequency=options.sample_rate,
            use_energy=False,
            window_type="hanning",
            dither=0.0,
            frame_shift=10,
            **settings,
        )
        for clip in waveform
    ]
    return torch.stack(clips)


def decaying(batch: int, num_samples: int) -> torch.Tensor:
    """Noise on a slow swing and an offset; it falls by 60 dB over the clip."""
    swing = 0.1 * torch.sin(torch.arange(num_samples) / 900.0) + 0.1
    return (noise(batch, num_samples) + swing) * torch.logspace(0, -3, num_samples)


@both_forms
@pytest.mark.parametrize(
    "options",
    [
        KaldiOptions(),
        KaldiOptions(n_mels=40, f_min=0.0, f_max=7600.0),
        KaldiOptions(sample_rate=22050),
        KaldiOptions(sample_rate=32000),
    ],
    ids=["published", "40 bands to 7.6 kHz", "22.05 kHz", "32 kHz"],
)
def test_it_equals_torchaudio(options: KaldiOptions, exportable: bool) -> None:
    waveform = decaying(2, 37_777)
    # By FFT both round alike; the convolution is nearer to the truth than either.
    expected = reference(waveform.double() if exportable else waveform, options).float()
    frontend = Kaldi(options, exportable)
    logarithm = frontend.compress(frontend.spectrum(waveform))
    assert logarithm.shape == expected.shape
    audible = expected > math.log(POWER_FLOOR) + 4.0
    assert audible.float().mean() > 0.5
    assert float((logarithm - expected)[audible].abs().max()) < 1e-4
    assert float((logarithm - expected).abs().max()) < 1e-3


@both_forms
def test_the_published_figures_of_a_sine(exportable: bool) -> None:
    frontend = Kaldi(KaldiOptions(), exportable)
    logarithm = frontend.compress(frontend.spectrum(sine(16000, 10)))
    assert logarithm.shape == (1, 998, 128)
    assert figures(logarithm) == pytest.approx([-13.31715, 4.88474, -15.94238, 5.62663], abs=1e-3)
    assert logarithm.mean(dim=(0, 1)).argmax() == 43


@both_forms
def test_the_published_figures_of_a_sine_as_ast_hears_it(exportable: bool) -> None:
    heard = Kaldi(AST, exportable)(sine(16000, 10))
    assert heard.shape == (1, 1024, 128)
    assert figures(heard)[:2] == pytest.approx([-0.95330, 0.57537], abs=1e-3)
    torch.testing.assert_close(heard[:, 998:], torch.full((1, 26, 128), 0.467032), rtol=0, atol=1e-6)


def test_short_clips_are_continued_with_zero_before_they_are_normalised() -> None:
    heard = Kaldi(PSLA)(noise(1, 16_000))
    assert heard.shape == (1, 1056, 128)
    torch.testing.assert_close(heard[:, 98:], torch.full((1, 958, 128), 4.6476 / 4.5699))


def as_published(clip: torch.Tensor, options: KaldiOptions) -> torch.Tensor:
    """Features of a clip (samples,) at its own length, then rows of 0 or a cut, then normalised: (1, frames, bands)."""
    assert options.target_frames is not None
    logarithm = reference(clip[None], options)
    rows = torch.nn.functional.pad(logarithm, (0, 0, 0, options.target_frames))[:, : options.target_frames]
    return (rows - options.mean) / (options.std * options.std_scale)


@both_forms
@pytest.mark.parametrize("num_samples", [400, 559, 560, 4_000, 7_919, 8_000, 15_999, 16_000])
def test_clips_continued_with_silence_are_heard_as_published(num_samples: int, exportable: bool) -> None:
    # samples   |--- clip ---|0000000|     published: |--- frames ---|0|0|0|, of the clip alone
    options = PSLA.model_copy(update={"padding": "zero", "target_frames": 110})
    clip = decaying(1, num_samples)[0]
    batch = torch.stack([torch.nn.functional.pad(clip, (0, 16_000 - num_samples)), noise(1, 16_000, seed=1)[0]])
    heard = Kaldi(options, exportable)(batch)
    assert float((heard[:1] - as_published(clip, options)).abs().max()) < 1e-3
    assert float((heard[1:] - as_published(batch[1], options)).abs().max()) < 1e-3


def test_the_floor_is_what_silence_sounds_like_unless_it_is_padding() -> None:
    clip = noise(1, 16_000)
    clip[:, 8_000:] = 0.0
    floor, zero = Kaldi(KaldiOptions()), Kaldi(KaldiOptions(padding="zero"))
    as_is, as_padding = (each.compress(each.spectrum(clip)) for each in (floor, zero))
    # 8000 samples hold 48 frames; two more reach beyond them, the others are silent.
    assert torch.equal(as_is[:, :48], as_padding[:, :48])
    assert (as_is[:, 50:] < -15.9).all()
    assert not as_padding[:, 48:].any()


def test_silence_before_a_sound_is_no_padding() -> None:
    clip = noise(1, 16_000)
    clip[:, 4_000:12_000] = 0.0
    zero = Kaldi(KaldiOptions(padding="zero"))
    torch.testing.assert_close(zero(clip), Kaldi(KaldiOptions())(clip), rtol=0, atol=0)


def test_long_clips_are_cut() -> None:
    waveform = noise(1, 32_000)
    short = KaldiOptions(target_frames=100)
    assert torch.equal(Kaldi(short)(waveform), Kaldi(KaldiOptions())(waveform)[:, :100])


@pytest.mark.parametrize(
    ("num_samples", "num_frames"), [(1, 1), (399, 1), (400, 1), (559, 1), (560, 2), (160_000, 998), (480_000, 2998)]
)
def test_frames_lie_within_the_clip_and_there_is_one_at_least(num_samples: int, num_frames: int) -> None:
    assert KaldiOptions().num_frames(num_samples) == num_frames
    assert AST.num_frames(num_samples) == 1024


@both_forms
def test_an_offset_is_not_heard(exportable: bool) -> None:
    frontend, waveform = Kaldi(KaldiOptions(), exportable), noise(1, 8_000)
    torch.testing.assert_close(frontend(waveform + 0.4), frontend(waveform), rtol=0, atol=1e-3)


@both_forms
def test_silence_is_at_the_floor(exportable: bool) -> None:
    frontend = Kaldi(KaldiOptions(), exportable)
    silence = frontend.compress(frontend.spectrum(torch.zeros(1, 8_000)))
    torch.testing.assert_close(silence, torch.full_like(silence, -15.942385))


@pytest.mark.parametrize(
    ("n_fft", "f_min", "f_max", "n_mels", "sample_rate"),
    [(512, 20.0, 8000.0, 128, 16000), (1024, 0.0, 15000.0, 128, 32000), (512, 100.0, 4000.0, 23, 16000)],
)
def test_the_triangles_are_those_of_torchaudio(
    n_fft: int, f_min: float, f_max: float, n_mels: int, sample_rate: int
) -> None:
    expected = get_mel_banks(n_mels, n_fft, sample_rate, f_min, f_max, 100.0, -500.0, 1.0)[0]
    triangles = kaldi_triangles(n_fft, f_min, f_max, n_mels, sample_rate)
    torch.testing.assert_close(triangles[:-1].T, expected, rtol=0, atol=1e-7)
    assert not triangles[-1].any()


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"f_max": 9000.0}, "half the sample rate"),
        ({"f_min": 8000.0}, "not below f_max"),
        ({"std": 0.0}, "std"),
        ({"target_frames": 0}, "target_frames"),
        ({"n_mel": 64}, "did you mean 'n_mels'"),
    ],
)
def test_options_that_cannot_be_are_refused(tree: dict[str, object], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        check_options(tree, KaldiOptions)
