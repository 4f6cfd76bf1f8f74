"""A recording heard while it is decoded: the samples of the whole, little memory, limits that hold, cut files."""

from __future__ import annotations

import io
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import RATE, encoded, tone, with_total_samples
from numpy.typing import NDArray

from desed_task.audio.limits import DecodeLimits
from desed_task.audio.reading import read_recording, read_waveform
from desed_task.audio.stream import AudioStream, open_stream
from desed_task.errors import AudioError, AudioFormatError, AudioTooLongError

CONTAINERS = ["WAV", "RF64", "FLAC", "OGG", "MP3", "AIFF"]
BLOCK_BYTES = 1 << 20


def noise(seconds: float, channels: int, sample_rate: int = RATE) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return rng.uniform(-0.3, 0.3, (round(seconds * sample_rate), channels)).astype(np.float32)


def heard(stream: AudioStream) -> NDArray[np.float32]:
    with stream:
        return np.concatenate(list(stream))


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(("from_rate", "channels"), [(44_100, 2), (16_000, 1), (8_000, 1)])
def test_the_blocks_are_the_waveform_of_the_whole(container: str, from_rate: int, channels: int) -> None:
    data = encoded(noise(7.0, channels, from_rate), container, from_rate)
    stream = open_stream(data, RATE)
    blocks = list(stream)
    whole, info = read_recording(data, RATE)
    assert all(block.dtype == np.float32 and 0 < block.nbytes <= BLOCK_BYTES + 4096 for block in blocks)
    assert np.abs(np.concatenate(blocks) - whole).max() <= 1e-6
    assert stream.info == info
    assert stream.warnings == ()
    assert stream.claimed_seconds == pytest.approx(7.0)
    stream.close()


def test_a_file_its_bytes_and_an_open_file_are_heard_alike(tmp_path: Path) -> None:
    path = tmp_path / "noise.flac"
    path.write_bytes(encoded(noise(1.0, 1), "FLAC"))
    with path.open("rb") as file:
        file.seek(10)
        results = [heard(open_stream(source, 8_000)) for source in (path, path.read_bytes(), file)]
        assert not file.closed
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_steps_may_run_in_any_thread() -> None:
    data = encoded(noise(40.0, 2), "FLAC")
    stream = open_stream(data, 8_000)
    blocks = []
    for _ in range(200):
        with ThreadPoolExecutor(1) as pool:
            block = pool.submit(next, stream, None).result()
        if block is None:
            break
        blocks.append(block)
    assert np.array_equal(np.concatenate(blocks), read_waveform(data, 8_000))


def test_the_duration_grows_with_what_was_decoded() -> None:
    with open_stream(encoded(noise(40.0, 1)), RATE) as stream:
        durations = [stream.info.duration for _ in stream]
    assert durations == sorted(durations)
    assert durations[0] < durations[-1] == stream.info.duration == 40.0


def test_a_flac_that_does_not_state_its_length_is_heard_whole() -> None:
    data = encoded(noise(20.0, 2, 44_100), "FLAC", 44_100)
    stream = open_stream(with_total_samples(data, 0), 44_100)
    assert stream.claimed_seconds is None
    expected = soundfile.read(io.BytesIO(data), dtype="float32")[0].mean(axis=1)
    assert heard(stream) == pytest.approx(expected, abs=1e-6)


def test_a_rate_far_below_the_wanted_one_makes_no_large_blocks() -> None:
    data = encoded(noise(600.0, 1, 1_000), "WAV", 1_000)
    with open_stream(data, 44_100) as stream:
        assert max(block.nbytes for block in stream) <= 1.1 * BLOCK_BYTES


def test_a_thousand_channels_make_no_large_blocks() -> None:
    data = encoded(np.zeros((4_000, 1_000), np.int16))
    with open_stream(data, RATE) as stream:
        assert max(len(block) for block in stream) <= BLOCK_BYTES // 4_000


# Limits


def test_a_recording_that_is_too_long_is_refused_after_its_first_seconds() -> None:
    data = encoded(np.zeros(600 * RATE, np.int16), "FLAC")
    stream = open_stream(data, RATE, DecodeLimits(max_seconds=20.0))
    first = next(stream)
    assert len(first) <= 20 * RATE
    with pytest.raises(AudioTooLongError, match="longer than the limit of 20 s"):
        list(stream)


def test_samples_of_all_channels_count_at_whatever_rate() -> None:
    data = encoded(np.zeros((96_000, 8), np.int16), "FLAC", 96_000)
    whole = DecodeLimits(max_seconds=20.0, max_samples=8 * 96_000)
    assert sum(map(len, open_stream(data, RATE, whole))) == RATE
    with pytest.raises(AudioTooLongError, match="limit of 767999 samples over its 8 channels at 96000 Hz"):
        list(open_stream(data, RATE, DecodeLimits(max_seconds=20.0, max_samples=8 * 96_000 - 1)))


@pytest.mark.parametrize("container", ["WAV", "FLAC"])
def test_channels_and_rates_beyond_the_limits_are_refused(container: str) -> None:
    limits = DecodeLimits(max_channels=2, lowest_rate=8_000, highest_rate=96_000)
    with pytest.raises(AudioError, match="3 channels, at most 2"):
        open_stream(encoded(noise(0.1, 3), container), RATE, limits)
    with pytest.raises(AudioError, match="sample rate of 4000 Hz"):
        open_stream(encoded(noise(0.1, 1), container, 4_000), RATE, limits)
    with pytest.raises(AudioError, match="sample rate of 192000 Hz; at most 96000"):
        open_stream(encoded(noise(0.1, 1), container, 192_000), RATE, limits)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused_where_they_stand(value: float) -> None:
    samples = noise(60.0, 1)
    samples[-5] = value
    stream = open_stream(encoded(samples, subtype="FLOAT"), RATE)
    next(stream)
    with pytest.raises(AudioError, match="NaN or infinite samples; export it again as PCM"):
        list(stream)


@pytest.mark.parametrize("value", [3e38, -3e38])
def test_samples_that_overflow_when_they_are_squared_are_refused(value: float) -> None:
    samples = noise(1.0, 1)
    samples[100] = value
    with pytest.raises(AudioError, match=r"holds samples of 3e\+38, full scale is 1"):
        list(open_stream(encoded(samples, subtype="FLOAT"), RATE))
    samples[100] = 2.0**31
    assert np.isfinite(heard(open_stream(encoded(samples, subtype="FLOAT"), RATE))).all()


def test_what_overflows_when_channels_are_added_is_refused() -> None:
    data = encoded(np.full((100, 8), 3e38, np.float32), subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN or infinite"):
        list(open_stream(data, RATE))


@pytest.mark.parametrize("container", ["AU", "W64", "CAF", "VOC", "NIST", "IRCAM", "PAF", "SVX", "MAT5", "HTK", "SDS"])
def test_rare_containers_are_no_uploads(container: str) -> None:
    subtype = "PCM_16"
    with pytest.raises(AudioFormatError, match="no known audio file; convert it to WAV"):
        open_stream(encoded(noise(0.2, 1), container, subtype=subtype), RATE)


@pytest.mark.parametrize("container", ["VOC", "NIST", "IRCAM", "PAF", "SVX", "MAT5", "HTK", "SDS"])
def test_parsers_of_rare_containers_see_no_file_of_ones_own_either(container: str) -> None:
    with pytest.raises(AudioError, match="not decodable audio"):
        read_waveform(encoded(noise(0.2, 1), container, subtype="PCM_16"), RATE)


def test_a_rare_container_behind_a_tag_is_not_looked_for() -> None:
    tag = b"ID3\4\0\0" + bytes([0, 0, 0, 10]) + bytes(10)
    assert len(heard(open_stream(tag + encoded(noise(1.0, 1), "MP3"), RATE))) == RATE
    for container in ("SDS", "AU", "HTK"):
        with pytest.raises(AudioFormatError):
            open_stream(tag + encoded(noise(0.2, 1), container, subtype="PCM_16"), RATE)


# What is not whole


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_cut_recording_is_refused_or_heard_as_far_as_it_goes(container: str, kept: float) -> None:
    whole = encoded(noise(8.0, 1), container)
    data = whole[: int(len(whole) * kept)]
    with pytest.raises(AudioError):
        list(open_stream(data, RATE))
    stream = open_stream(data, RATE, DecodeLimits(strict=False))
    waveform = heard(stream)
    assert 8 * kept - 1.1 < stream.info.duration <= 8 * kept + 0.1
    assert len(waveform) == pytest.approx(stream.info.duration * RATE, abs=1)
    assert stream.warnings == (f"truncated at {stream.info.duration:.2f} s",)
    assert np.array_equal(waveform, read_waveform(whole, RATE)[: len(waveform)]) or container in ("OGG", "MP3")


def test_of_nothing_there_is_nothing_even_when_not_strict() -> None:
    limits = DecodeLimits(strict=False)
    for data in (b"", encoded(np.zeros(0)), encoded(noise(1.0, 1), "FLAC")[:60], encoded(noise(1.0, 1), "OGG")[:300]):
        with pytest.raises(AudioError):
            list(open_stream(data, RATE, limits))


def test_a_recording_shorter_than_a_sample_after_resampling_is_refused() -> None:
    with pytest.raises(AudioError, match="too short, 1 samples at 96000 Hz"):
        list(open_stream(encoded(np.zeros(1), sample_rate=96_000), RATE))


def test_a_file_that_was_opened_here_is_closed_when_it_is_refused(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "letter.wav"
    path.write_text("Dear colleague, the recording is in the other mail. " * 40)
    with pytest.raises(AudioError, match=str(path)):
        open_stream(path, RATE)
    assert not [warning for warning in recwarn if warning.category is ResourceWarning]


# Several recordings in one file, of which libsndfile gives the first


def test_an_mp3_without_a_stated_length_is_heard_whole() -> None:
    pytest.importorskip("av")
    data = encoded(np.concatenate([np.zeros(3 * RATE), noise(5.0, 1)[:, 0]]), "MP3")
    without_tag = data[data.index(b"\xff", 4) :]
    assert len(heard(open_stream(without_tag, RATE))) == pytest.approx(8 * RATE, abs=3_000)


@pytest.mark.parametrize("container", ["MP3", "OGG"])
def test_recordings_that_follow_one_another_are_heard_as_one(container: str) -> None:
    pytest.importorskip("av")
    data = encoded(tone(2.0), container)
    assert len(heard(open_stream(data + data, RATE))) == pytest.approx(4 * RATE, abs=3_000)


@pytest.mark.parametrize("container", ["MP3", "OGG"])
def test_a_rate_that_changes_is_refused(container: str) -> None:
    pytest.importorskip("av")
    data = encoded(tone(2.0, 44_100), container, 44_100) + encoded(tone(2.0, 22_050), container, 22_050)
    with pytest.raises(AudioError):
        list(open_stream(data, RATE))


def test_bytes_behind_an_mp3_do_no_harm() -> None:
    for rest in (bytes(5_000), b"TAG" + bytes(125), b"APETAGEX" + b"\xff\xfb" * 300):
        assert len(heard(open_stream(encoded(tone(2.0), "MP3") + rest, RATE))) == 2 * RATE


# Memory


def test_an_hour_of_silence_takes_a_few_megabytes() -> None:
    data = encoded(np.zeros(3600 * 8_000, np.int16), "FLAC", 8_000)
    tracemalloc.start()
    with open_stream(data, 8_000, DecodeLimits(max_seconds=4_000)) as stream:
        assert sum(len(block) for block in stream) == 3600 * 8_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


HEAR_WITH_LITTLE_MEMORY = """
import resource, sys
from desed_task.audio.limits import DecodeLimits
from desed_task.audio.stream import open_stream
from desed_task.errors import AudioError
data = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
samples = 0
try:
    for block in open_stream(data, 16000, DecodeLimits(strict=False)):
        samples += len(block)
except AudioError as error:
    print(error)
print(samples, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def kilobytes_for(data: bytes) -> tuple[int, int]:
    """Samples heard in a process of its own, and by how many kilobytes it grew."""
    ran = subprocess.run([sys.executable, "-c", HEAR_WITH_LITTLE_MEMORY], input=data, capture_output=True, check=True)
    samples, kilobytes = ran.stdout.decode().splitlines()[-1].split()
    return int(samples), int(kilobytes)


def test_a_flac_of_eight_channels_at_a_high_rate_takes_a_few_megabytes() -> None:
    samples, kilobytes = kilobytes_for(encoded(np.zeros((655_350 * 5, 8), np.int16), "FLAC", 655_350))
    assert samples == 5 * RATE
    assert kilobytes < 32_000


def test_a_flac_that_claims_50_days_is_heard_for_what_it_holds() -> None:
    samples, kilobytes = kilobytes_for(with_total_samples(encoded(tone(1.0), "FLAC"), 2**36 - 1))
    assert samples == RATE
    assert kilobytes < 32_000
