"""WAV and AIFF read by our own code: bit for bit what libsndfile reads, and what is refused."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
from audio_files import RATE, encoded, tone, with_sizes

from desed_task.audio.limits import DecodeLimits
from desed_task.audio.reading import read_recording
from desed_task.audio.stream import open_stream
from desed_task.errors import AudioError, AudioFormatError

SUBTYPES = {
    "WAV": ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"],
    "WAVEX": ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"],
    "RF64": ["PCM_16", "PCM_24", "FLOAT"],
    "AIFF": ["PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"],
}
WRITTEN = [(container, subtype) for container, subtypes in SUBTYPES.items() for subtype in subtypes]


def fmt_of(tag: int, channels: int = 1, rate: int = RATE, bytes_per_frame: int = 2, bits: int = 16) -> bytes:
    return struct.pack("<HHIIHH", tag, channels, rate, rate * bytes_per_frame, bytes_per_frame, bits)


def wav_of(fmt: bytes, data: bytes) -> bytes:
    chunks = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def aifc_of(kind: bytes, data: bytes, bits: int = 16) -> bytes:
    rate = struct.pack(">HQ", 16383 + 13, RATE << 64 - 14)
    common = struct.pack(">HIH", 1, len(data) * 8 // bits, bits) + rate + kind + b"\0\0"
    chunks = b"AIFCCOMM" + struct.pack(">I", len(common)) + common
    chunks += b"SSND" + struct.pack(">III", len(data) + 8, 0, 0) + data
    return b"FORM" + struct.pack(">I", len(chunks)) + chunks


@pytest.mark.parametrize("num_channels", [1, 2, 3])
@pytest.mark.parametrize(("container", "subtype"), WRITTEN)
def test_the_samples_are_those_of_libsndfile(container: str, subtype: str, num_channels: int) -> None:
    rng = np.random.default_rng(0)
    data = encoded(rng.uniform(-1.1, 1.1, (1_001, num_channels)), container, subtype=subtype)
    # Of an odd number of bytes in AIFF libsndfile writes, and reads, one more.
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    waveform, info = read_recording(data, RATE)
    assert (info.sample_rate, info.channels, info.duration) == (RATE, num_channels, len(expected) / RATE)
    assert info.format == {"WAVEX": "WAV"}.get(container, container)
    assert np.array_equal(waveform, expected.mean(axis=1, dtype=np.float32))


def test_little_endian_samples_in_aifc_are_read() -> None:
    samples = (tone(0.1) * 32767).astype("<i2")
    waveform = read_recording(aifc_of(b"sowt", samples.tobytes()), RATE)[0]
    assert np.array_equal(waveform, samples / np.float32(32768))


def test_24_bits_in_32_are_read() -> None:
    samples = np.arange(-500, 500, dtype="<i4") << 8
    waveform = read_recording(wav_of(fmt_of(1, bytes_per_frame=4, bits=24), samples.tobytes()), RATE)[0]
    assert np.array_equal(waveform, (samples / 2**31).astype(np.float32))


@pytest.mark.parametrize(
    ("tag", "codec"),
    [(2, "Microsoft ADPCM"), (0x11, "IMA ADPCM"), (0x31, "GSM 6.10"), (0x55, "MP3"), (0x1234, "number 0x1234")],
)
def test_other_codecs_in_wav_are_refused_by_name(tag: int, codec: str) -> None:
    extensible = fmt_of(0xFFFE) + struct.pack("<HHIH", 22, 16, 4, tag) + bytes.fromhex("000000001000800000aa00389b71")
    for fmt in (fmt_of(tag), extensible):
        with pytest.raises(AudioFormatError, match=codec):
            read_recording(wav_of(fmt, bytes(1_000)), RATE)


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32"])
def test_what_libsndfile_writes_as_such_is_refused(subtype: str) -> None:
    with pytest.raises(AudioFormatError, match=r"in WAV is not decoded; export it as PCM or FLAC"):
        read_recording(encoded(tone(1.0, 8_000), "WAV", 8_000, subtype), RATE)


@pytest.mark.parametrize("kind", [b"ima4", b"MAC3", b"QDM2"])
def test_other_codecs_in_aiff_are_refused_by_name(kind: bytes) -> None:
    with pytest.raises(AudioFormatError, match=kind.decode()):
        read_recording(aifc_of(kind, bytes(1_000)), RATE)


def test_a_format_behind_the_samples_or_a_second_one_hides_nothing() -> None:
    whole = wav_of(fmt_of(1), bytes(1_000))
    hidden = b"fmt " + struct.pack("<I", 16) + fmt_of(0x11)
    with pytest.raises(AudioFormatError, match="IMA ADPCM"):
        read_recording(whole[:36] + hidden + whole[36:], RATE)
    assert len(read_recording(whole + hidden, RATE)[0]) == 500
    with pytest.raises(AudioError, match="without a format before its samples"):
        read_recording(b"RIFF\xff\xff\xff\xffWAVE" + whole[36:] + whole[12:36], RATE)


@pytest.mark.parametrize(
    "fmt", [fmt_of(1, channels=0), fmt_of(1, bytes_per_frame=0, bits=0), fmt_of(3, bytes_per_frame=2), fmt_of(1)[:12]]
)
def test_formats_that_cannot_be_are_refused(fmt: bytes) -> None:
    with pytest.raises(AudioError, match="not decodable audio"):
        read_recording(wav_of(fmt, bytes(1_000)), RATE)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_a_piped_wav_is_read_to_its_end_block_by_block(size: int) -> None:
    data = with_sizes(encoded(np.tile(tone(30.0), (2, 1)).T), size)
    with open_stream(data, RATE) as stream:
        assert sum(len(block) for block in stream) == 30 * RATE
    assert stream.info.duration == 30.0


@pytest.mark.parametrize(("frames", "num_bytes"), [(0, 0), (0, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (16_000, 0)])
def test_a_piped_aiff_is_read_to_its_end(frames: int, num_bytes: int) -> None:
    data = encoded(tone(1.0), "AIFF")
    common, samples = data.index(b"COMM"), data.index(b"SSND")
    data = data[: samples + 4] + struct.pack(">I", num_bytes) + data[samples + 8 :]
    data = data[:4] + bytes(4) + data[8 : common + 10] + struct.pack(">I", frames) + data[common + 14 :]
    assert len(read_recording(data, RATE)[0]) == RATE


def test_an_aiff_without_samples_is_refused() -> None:
    for more in (b"", b"NAME\0\0\0\2ab"):
        data = encoded(np.zeros(0), "AIFF") + more
        with pytest.raises(AudioError, match="holds no samples"):
            read_recording(data[:4] + struct.pack(">I", len(data) - 8) + data[8:], RATE)


def test_a_cut_file_gives_what_there_is_when_asked() -> None:
    for container in ("WAV", "RF64", "AIFF"):
        data = encoded(tone(2.0), container)
        with open_stream(data[:-16_000], RATE, DecodeLimits(strict=False)) as stream:
            assert sum(len(block) for block in stream) == pytest.approx(24_000, abs=50)
        assert stream.warnings == ("truncated at 1.50 s",)
        with pytest.raises(AudioError, match=r"truncated, \d+ of 64000 bytes of audio are there"):
            open_stream(data[:-16_000], RATE)
