"""Recordings in, waveforms out, for every container; and what is refused, in one sentence."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from desed_task.audio.reading import Waveform, read_recording, read_waveform, resample, write_waveform
from desed_task.errors import AudioError, AudioTooLongError

RATE = 16_000
CONTAINERS = ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "W64", "RF64", "CAF"]
LOSSY = {"OGG", "MP3"}


def tone(seconds: float, sample_rate: int = RATE, hertz: float = 440.0) -> Waveform:
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    return (0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def encoded(samples: np.ndarray, container: str = "WAV", sample_rate: int = RATE, subtype: str | None = None) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, sample_rate, format=container, subtype=subtype)
    return stream.getvalue()


def refusal(source: Path | bytes) -> str:
    with pytest.raises(AudioError) as refused:
        read_recording(source, RATE)
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


# What is read


@pytest.mark.parametrize("container", CONTAINERS)
def test_each_container_gives_its_samples(container: str, tmp_path: Path) -> None:
    samples = tone(1.5)
    path = tmp_path / f"tone.{container.lower()}"
    path.write_bytes(encoded(samples, container))
    waveform, info = read_recording(path, RATE)
    assert (info.duration, info.sample_rate, info.channels, info.format) == (1.5, RATE, 1, container)
    assert waveform.dtype == np.float32
    assert np.abs(waveform - samples).max() < (0.1 if container in LOSSY else 1e-4)


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG"])
def test_bytes_and_file_are_read_alike(container: str, tmp_path: Path) -> None:
    path = tmp_path / "tone"
    path.write_bytes(encoded(tone(0.3), container))
    assert np.array_equal(read_waveform(path, 8_000), read_waveform(path.read_bytes(), 8_000))


@pytest.mark.parametrize("num_channels", [1, 2, 8])
def test_channels_are_averaged(num_channels: int) -> None:
    samples = np.zeros((1_000, num_channels), dtype=np.float32)
    samples[:, 0] = 0.5
    waveform, info = read_recording(encoded(samples), RATE)
    assert info.channels == num_channels
    assert waveform == pytest.approx(np.full(1_000, 0.5 / num_channels), abs=1e-4)


@pytest.mark.parametrize("from_rate", [8_000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000])
def test_a_resampled_recording_keeps_its_length_and_its_tone(from_rate: int) -> None:
    waveform = read_waveform(encoded(tone(2.0, from_rate), sample_rate=from_rate), RATE)
    assert len(waveform) == 2 * RATE
    inside = slice(RATE // 4, -RATE // 4)
    assert np.abs(waveform - tone(2.0))[inside].max() < 2e-3


@pytest.mark.parametrize("num_samples", [1, 3, 441, 44_101, 96_001])
def test_a_resampled_length_is_right_to_one_sample(num_samples: int) -> None:
    for from_rate in (8_000, 44_100, 96_000):
        exact = num_samples * RATE / from_rate
        assert abs(len(resample(np.zeros(num_samples, np.float32), from_rate, RATE)) - exact) < 1


def test_a_rate_that_is_right_already_changes_nothing() -> None:
    waveform = tone(0.1)
    assert resample(waveform, RATE, RATE) is waveform


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG"])
def test_a_recording_longer_than_a_block_is_read_whole(container: str) -> None:
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, (300_000, 2)).astype(np.float32)
    data = encoded(samples, container)
    expected = soundfile.read(io.BytesIO(data), dtype="float32")[0].mean(axis=1)
    assert read_waveform(data, RATE) == pytest.approx(expected, abs=1e-6)


def with_sizes(data: bytes, size: int) -> bytes:
    """A plain 44-byte-header WAV whose two sizes say `size`."""
    return data[:4] + struct.pack("<I", size) + data[8:40] + struct.pack("<I", size) + data[44:]


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000])
def test_a_streamed_wav_that_does_not_know_its_length_is_read_to_its_end(size: int) -> None:
    assert len(read_waveform(with_sizes(encoded(tone(1.0)), size), RATE)) == RATE


def with_total_samples(flac: bytes, total: int) -> bytes:
    """STREAMINFO holds the 36 bits of the total from the low half of byte 21 on."""
    return flac[:21] + bytes([flac[21] & 0xF0 | total >> 32]) + struct.pack(">I", total & 0xFFFFFFFF) + flac[26:]


def test_a_streamed_flac_that_does_not_know_its_length_is_read_to_its_end() -> None:
    assert len(read_waveform(with_total_samples(encoded(tone(30.0), "FLAC"), 0), RATE)) == 30 * RATE


def test_a_wav_with_other_chunks_around_its_samples_is_read() -> None:
    data = encoded(tone(0.5))
    odd = b"note" + struct.pack("<I", 3) + b"abc\0"
    assert len(read_waveform(data[:36] + odd + data[36:] + odd, RATE)) == RATE // 2


def test_bytes_after_the_last_ogg_page_do_no_harm() -> None:
    assert len(read_waveform(encoded(tone(1.0), "OGG") + b"TAG" + bytes(125), RATE)) == RATE


# What is refused


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
def test_a_recording_that_breaks_off_is_refused_in_every_container(container: str, kept: float) -> None:
    data = encoded(np.random.default_rng(0).uniform(-0.3, 0.3, 10 * RATE), container)
    sentence = refusal(data[: int(len(data) * kept)])
    assert "truncated" in sentence or "not decodable" in sentence


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG"])
def test_a_header_alone_is_refused(container: str) -> None:
    refusal(encoded(tone(1.0), container)[:40])


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    path.write_bytes(encoded(tone(1.0))[:20_044])
    assert refusal(path) == f"{path}: truncated, 20000 of 32000 bytes of audio are there; fetch it again"


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.wav") == f"{tmp_path / 'none.wav'}: no such audio file"
    assert "a folder or a device" in refusal(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.touch()
    assert refusal(path) == f"{path}: the file is empty (0 bytes)"
    assert refusal(b"") == "audio: the file is empty (0 bytes)"


def test_a_recording_without_samples_is_refused() -> None:
    assert "no samples" in refusal(encoded(np.zeros(0)))
    other_chunk = b"LIST" + struct.pack("<I", 4) + b"INFO"
    data = encoded(np.zeros(0))[:44] + other_chunk
    assert "no samples" in refusal(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])


def test_a_recording_shorter_than_a_sample_after_resampling_is_refused() -> None:
    assert refusal(encoded(np.zeros(1), sample_rate=96_000)) == "audio: too short, 1 samples at 96000 Hz"


@pytest.mark.parametrize("name", ["letter.wav", "letter.ogg", "letter.flac", "letter.mp3"])
def test_text_that_is_named_as_audio_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("Dear colleague, the recording is in the other mail. " * 40)
    assert "not decodable audio" in refusal(path)


def test_raw_samples_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.raw"
    path.write_bytes(bytes(1_000))
    assert "raw samples do not say their rate" in refusal(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(value: float) -> None:
    samples = tone(0.1)
    samples[7] = value
    assert "NaN or infinite" in refusal(encoded(samples, subtype="FLOAT"))


@pytest.mark.parametrize("rate", [1, 999, 4_000_000_000])
def test_a_sample_rate_that_nobody_records_at_is_refused(rate: int) -> None:
    data = encoded(tone(0.1))
    data = data[:24] + struct.pack("<I", rate) + data[28:]
    assert "sample rate" in refusal(data) or "not decodable" in refusal(data)


def test_a_recording_longer_than_the_limit_is_refused_while_it_is_decoded() -> None:
    data = encoded(tone(2.0))
    assert len(read_waveform(data, RATE, max_seconds=2.0)) == 2 * RATE
    with pytest.raises(AudioTooLongError, match=r"longer than the limit of 1\.9 s"):
        read_waveform(data, RATE, max_seconds=1.9)


READ_WITH_LITTLE_MEMORY = """
import resource, sys
from desed_task.audio.reading import read_waveform
from desed_task.errors import AudioError
data = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_waveform(data, 16000)
except AudioError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


def test_a_flac_that_claims_50_days_allocates_what_it_holds() -> None:
    claiming = with_total_samples(encoded(tone(1.0), "FLAC"), 2**36 - 1)
    ran = subprocess.run(
        [sys.executable, "-c", READ_WITH_LITTLE_MEMORY], input=claiming, capture_output=True, check=True
    )
    kilobytes, _, sentence = ran.stdout.decode().partition(" ")
    assert int(kilobytes) < 30_000
    assert "truncated, 1.00 s of 4294967.30 s" in sentence


@pytest.mark.parametrize(
    "spoil", [lambda data: b"RIFF\xff\xff\xff\xffWAVE" + b"junk\0\0\0\0" * 50_000, lambda data: data[::-1]]
)
def test_bytes_that_make_no_sense_are_refused(spoil: Callable[[bytes], bytes]) -> None:
    refusal(spoil(encoded(tone(0.5))))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # libsndfile seeks before the start
def test_no_change_of_a_byte_brings_anything_but_a_waveform_or_a_refusal() -> None:
    rng = np.random.default_rng(0)
    for container in ("WAV", "FLAC", "OGG", "AIFF"):
        data = encoded(tone(0.2), container)
        for _ in range(60):
            spoilt = bytearray(data)
            for position in rng.integers(0, min(len(data), 200), 3):
                spoilt[position] = rng.integers(0, 256)
            try:
                waveform = read_waveform(bytes(spoilt), RATE, max_seconds=60.0)
            except AudioError:
                continue
            assert len(waveform) > 0


# Writing


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_what_is_written_is_read_back_to_16_bits(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"tone{suffix}"
    write_waveform(path, tone(0.5), RATE)
    assert np.abs(read_waveform(path, RATE) - tone(0.5)).max() <= 1 / 32_768
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_is_too_loud_is_clipped_and_does_not_wrap_around(tmp_path: Path) -> None:
    write_waveform(tmp_path / "loud.wav", np.array([2.0, -2.0], dtype=np.float32), RATE)
    assert read_waveform(tmp_path / "loud.wav", RATE) == pytest.approx([1.0, -1.0], abs=1e-4)


# Real recordings


def test_every_real_recording_is_read(shared_data: Path) -> None:
    paths = sorted((shared_data / "esc10").rglob("*.ogg"))[::20]
    assert paths
    for path in paths:
        waveform, info = read_recording(path, RATE)
        assert 4.9 < len(waveform) / RATE < 5.1
        assert info.sample_rate == 44_100
        assert np.abs(waveform).max() <= 1.5
