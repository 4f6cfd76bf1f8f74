"""Samples without a header: what a Content-Type says, and what is read."""

from __future__ import annotations

import io

import numpy as np
import pytest
from audio_files import RATE, tone

from desed_task.audio.limits import DecodeLimits
from desed_task.audio.raw_pcm import RawPcm, raw_pcm_of
from desed_task.audio.stream import open_stream
from desed_task.errors import AudioError, AudioTooLongError

SAMPLES = (tone(1.0) * 32767).astype("<i2")


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("audio/L16;rate=16000;channels=1", RawPcm(16_000, 1, big_endian=True)),
        ("audio/l16; rate=44100; channels=2", RawPcm(44_100, 2, big_endian=True)),
        ('Audio/PCM; Rate="8000"', RawPcm(8_000)),
        ("audio/pcm;rate=48000;channels=8;codec=x", RawPcm(48_000, 8)),
        ("audio/wav", None),
        ("application/octet-stream", None),
        ("", None),
        (None, None),
    ],
)
def test_a_content_type_says_what_the_samples_are(content_type: str | None, expected: RawPcm | None) -> None:
    assert raw_pcm_of(content_type) == expected


@pytest.mark.parametrize(
    "rest", ["", ";channels=1", ";rate=0", ";rate=-1", ";rate=16k", ";rate=²", ";rate=1e9", ";rate=16000;channels=0"]
)
def test_one_that_says_no_rate_or_no_number_is_refused(rest: str) -> None:
    with pytest.raises(AudioError, match="Content-Type audio/pcm"):
        raw_pcm_of("audio/pcm" + rest)


def test_both_byte_orders_give_the_same_samples() -> None:
    for raw, data in ((RawPcm(RATE), SAMPLES), (RawPcm(RATE, big_endian=True), SAMPLES.astype(">i2"))):
        for source in (data.tobytes(), io.BytesIO(data.tobytes())):
            with open_stream(source, RATE, raw=raw) as stream:
                blocks = list(stream)
            assert np.array_equal(np.concatenate(blocks), SAMPLES / np.float32(32768))
            assert (stream.info.format, stream.info.duration, stream.claimed_seconds) == ("PCM", 1.0, 1.0)


def test_channels_are_averaged_and_the_rate_is_changed() -> None:
    data = np.stack([SAMPLES, -SAMPLES, SAMPLES, -SAMPLES], axis=1).tobytes()
    with open_stream(data, 8_000, raw=RawPcm(RATE, 4)) as stream:
        waveform = np.concatenate(list(stream))
    assert len(waveform) == 8_000
    assert np.abs(waveform).max() < 1e-6


def test_half_a_sample_is_refused_or_left_out() -> None:
    data = SAMPLES.tobytes()[:-1]
    with pytest.raises(AudioError, match="31999 bytes are no whole number of 16-bit samples of 1 channels"):
        open_stream(data, RATE, raw=RawPcm(RATE))
    with open_stream(data, RATE, DecodeLimits(strict=False), raw=RawPcm(RATE)) as stream:
        assert sum(map(len, stream)) == 15_999
    assert stream.warnings == ("truncated at 1.00 s",)


def test_limits_hold() -> None:
    data = SAMPLES.tobytes()
    with pytest.raises(AudioTooLongError, match=r"longer than the limit of 0\.9 s"):
        open_stream(data, RATE, DecodeLimits(max_seconds=0.9), raw=RawPcm(RATE))
    with pytest.raises(AudioError, match="2 channels, at most 1"):
        open_stream(data, RATE, DecodeLimits(max_channels=1), raw=RawPcm(RATE, 2))
    with pytest.raises(AudioError, match="sample rate of 10 Hz"):
        open_stream(data, RATE, raw=RawPcm(10))
    with pytest.raises(AudioError, match="empty"):
        open_stream(b"", RATE, raw=RawPcm(RATE))
