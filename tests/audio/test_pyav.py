"""What needs PyAV: MP4, WebM, AAC and Opus, heard in their time; and how FFmpeg is kept on a short lead."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from audio_files import encoded, encoded_by_av, tone, with_total_samples
from numpy.typing import NDArray

from desed_task.audio.containers import container_of, find_recordings
from desed_task.audio.libsndfile import SoundfileDecoder
from desed_task.audio.limits import DecodeLimits
from desed_task.audio.pyav import PyavDecoder
from desed_task.audio.reading import check_header, read_recording
from desed_task.audio.stream import open_stream
from desed_task.errors import AudioError, AudioFormatError, AudioTooLongError

pytest.importorskip("av")
RATE = 16_000
AV_RATE = 48_000
LOSSLESS = [("ipod", "alac"), ("mp4", "flac"), ("matroska", "flac"), ("mov", "pcm_s16be"), ("matroska", "pcm_s24le")]
LOSSY = [
    ("webm", "libopus"),
    ("ipod", "aac"),
    ("mp4", "libmp3lame"),
    ("mp4", "libopus"),
    ("matroska", "aac"),
    ("ogg", "libopus"),
]


def burst(seconds: float, sample_rate: int = AV_RATE) -> NDArray[np.float32]:
    """Silence, then from 1 s on noise without its highest frequencies: its onset shows where a decoder puts it."""
    rng = np.random.default_rng(0)
    waveform = np.convolve(rng.uniform(-0.3, 0.3, round(seconds * sample_rate)), np.ones(12) / 12, "same")
    waveform[:sample_rate] = 0.0
    return waveform.astype(np.float32)


def blocks_of(data: bytes, decoder: type[SoundfileDecoder] | type[PyavDecoder], container: str) -> NDArray[np.float32]:
    opened = decoder(io.BytesIO(data), container, "audio")
    blocks = [np.zeros((0, opened.channels), np.float32)]
    while len(block := opened.read(50_000)):
        blocks.append(block)
    opened.close()
    return np.concatenate(blocks)


@pytest.mark.parametrize(("form", "codec"), LOSSLESS)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_lossless_codec_gives_its_samples(form: str, codec: str, channels: int) -> None:
    waveform = burst(2.0)
    data = encoded_by_av(np.tile(waveform[:, None], (1, channels)), form, codec)
    heard, info = read_recording(data, AV_RATE)
    assert (info.duration, info.sample_rate, info.channels) == (2.0, AV_RATE, channels)
    assert np.abs(heard - waveform).max() < 2 / 32_768


@pytest.mark.parametrize(("form", "codec"), LOSSY)
def test_a_lossy_codec_is_heard_at_its_time(form: str, codec: str) -> None:
    waveform = burst(3.0)
    data = encoded_by_av(waveform, form, codec)
    heard, info = read_recording(data, AV_RATE)
    assert info.format == container_of(data) == {"webm": "WEBM", "matroska": "WEBM", "ogg": "OGG"}.get(form, "MP4")
    assert 3.0 <= info.duration < 3.1
    assert np.corrcoef(heard[: len(waveform)], waveform)[0, 1] > 0.9
    assert np.array_equal(np.concatenate(list(open_stream(data, AV_RATE))), heard)
    resampled = np.concatenate(list(open_stream(data, RATE)))
    assert np.abs(resampled - read_recording(data, RATE)[0]).max() <= 1e-6


def test_aac_without_a_container_is_heard_but_for_its_encoder_s_delay() -> None:
    data = encoded_by_av(burst(3.0), "adts", "aac")
    heard, info = read_recording(data, AV_RATE)
    assert info.format == "AAC"
    assert np.corrcoef(heard[1024 : 1024 + 3 * AV_RATE], burst(3.0))[0, 1] > 0.9
    tag = b"ID3\4\0\0" + bytes([0, 0, 0, 10]) + bytes(10)
    assert np.array_equal(read_recording(tag + data, AV_RATE)[0], heard)


@pytest.mark.parametrize("container", ["FLAC", "MP3", "OGG"])
def test_both_decoders_give_the_same_samples(container: str) -> None:
    data = encoded(np.tile(tone(3.0, 44_100)[:, None], (1, 2)), container, 44_100)
    for case in (data, with_total_samples(data, 0)) if container == "FLAC" else (data,):
        ours, theirs = (blocks_of(case, decoder, container) for decoder in (SoundfileDecoder, PyavDecoder))
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 1e-5


def test_opus_is_the_same_by_either_decoder() -> None:
    data = encoded(tone(3.0, AV_RATE), "OGG", AV_RATE, "OPUS")
    ours, theirs = (blocks_of(data, decoder, "OGG") for decoder in (SoundfileDecoder, PyavDecoder))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize(("form", "codec"), [("mp4", "ac3"), ("matroska", "mp2"), ("matroska", "ac3")])
def test_other_codecs_are_refused_by_name(form: str, codec: str) -> None:
    with pytest.raises(AudioFormatError, match=f"{codec} in (MP4|WEBM) is not decoded"):
        open_stream(encoded_by_av(burst(1.1), form, codec), RATE)


def video_and_audio() -> bytes:
    import av

    stream = io.BytesIO()
    with av.open(stream, "w", format="matroska") as container:
        pictures = container.add_stream("mpeg4", rate=10, width=64, height=48, pix_fmt="yuv420p")
        sound = container.add_stream("flac", rate=RATE, layout="mono")
        for index in range(10):
            container.mux(pictures.encode(av.VideoFrame(64, 48, "yuv420p")))
            frame = av.AudioFrame.from_ndarray(np.full((1, RATE // 10), 1_000 + index, np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = RATE, index * RATE // 10
            container.mux(sound.encode(frame))
        container.mux(pictures.encode(None))
        container.mux(sound.encode(None))
    return stream.getvalue()


def test_of_a_film_only_the_sound_is_heard() -> None:
    waveform = read_recording(video_and_audio(), RATE)[0]
    assert np.array_equal(np.round(waveform * 32_768), np.repeat(np.arange(1_000, 1_010), RATE // 10))


def test_what_holds_no_sound_is_refused() -> None:
    import av

    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        pictures = container.add_stream("mpeg4", rate=10, width=64, height=48, pix_fmt="yuv420p")
        container.mux(pictures.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(pictures.encode(None))
    with pytest.raises(AudioFormatError, match="holds no audio"):
        open_stream(stream.getvalue(), RATE)


def test_limits_hold_while_decoding() -> None:
    data = encoded_by_av(np.zeros((40 * AV_RATE, 2), np.float32), "webm", "libopus")
    stream = open_stream(data, RATE, DecodeLimits(max_seconds=20.0))
    with pytest.raises(AudioTooLongError, match="longer than the limit of 20 s"):
        list(stream)
    assert stream.info.duration <= 20.0
    with pytest.raises(AudioError, match="2 channels, at most 1"):
        open_stream(data, RATE, DecodeLimits(max_channels=1))
    with open_stream(data, RATE) as opened:
        assert max(block.nbytes for block in opened) <= 1 << 20


@pytest.mark.parametrize(
    ("form", "codec"), [("webm", "libopus"), ("matroska", "flac"), ("adts", "aac"), ("ogg", "libopus")]
)
def test_a_cut_recording_is_refused_or_heard_as_far_as_it_goes(form: str, codec: str) -> None:
    whole = encoded_by_av(burst(4.0), form, codec)
    data = whole[: int(len(whole) * 0.7)]
    with pytest.raises(AudioError, match="truncated"):
        list(open_stream(data, RATE))
    stream = open_stream(data, RATE, DecodeLimits(strict=False))
    waveform = np.concatenate(list(stream))
    assert 1.0 < stream.info.duration < 3.6
    assert stream.warnings == (f"truncated at {stream.info.duration:.2f} s",)
    assert len(waveform) == pytest.approx(stream.info.duration * RATE, abs=1)


def test_an_mp4_that_lost_its_index_is_refused() -> None:
    data = encoded_by_av(burst(2.0), "ipod", "aac")
    for strict in (True, False):
        with pytest.raises(AudioError, match=r"truncated, \d+ bytes are missing at its end; fetch it again"):
            open_stream(data[: len(data) // 2], RATE, DecodeLimits(strict=strict))


def test_a_rate_that_changes_is_refused_in_one_sentence() -> None:
    data = encoded_by_av(tone(2.0, 44_100), "adts", "aac", 44_100) + encoded_by_av(
        tone(2.0, 22_050), "adts", "aac", 22_050
    )
    with pytest.raises(AudioError, match="sample rate changes from 44100 to 22050 Hz; export it with one rate"):
        list(open_stream(data, RATE))


def test_channels_may_change() -> None:
    stereo = np.tile(tone(2.0, 44_100)[:, None], (1, 2))
    data = encoded_by_av(tone(2.0, 44_100), "adts", "aac", 44_100) + encoded_by_av(stereo, "adts", "aac", 44_100)
    waveform = np.concatenate(list(open_stream(data, 44_100)))
    assert len(waveform) > 4 * 44_100
    loudest = np.abs(waveform[66_150:154_350]).reshape(-1, 4410).max(axis=1)
    assert np.median(loudest) == pytest.approx(0.5, abs=0.02)
    assert loudest.min() > 0.4


def test_tags_in_any_alphabet_do_no_harm() -> None:
    data = encoded_by_av(burst(1.2), "matroska", "flac")
    assert b"Lavf" in data
    assert len(read_recording(data.replace(b"Lavf", b"L\xe4\xff\xfe"), AV_RATE)[0]) == 1.2 * AV_RATE


def test_recordings_are_found_by_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(encoded_by_av(burst(1.1), "ipod", "aac"))
    (tmp_path / "b.bin").write_bytes(encoded_by_av(burst(1.1), "adts", "aac"))
    (tmp_path / "picture.mp4").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    assert [path.name for path in find_recordings(tmp_path)] == ["a.bin", "b.bin"]
    info = check_header(tmp_path / "a.bin")
    assert (info.sample_rate, info.channels, info.format) == (AV_RATE, 1, "MP4")
    assert info.duration == pytest.approx(1.1, abs=0.03)


# Without PyAV


def test_without_pyav_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded_by_av(burst(1.1), "webm", "libopus")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        AudioFormatError, match=r"decoding WEBM needs the package av; `pip install 'desed-task\[serve\]'`"
    ):
        open_stream(data, RATE)


def test_without_pyav_libsndfile_decodes_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("desed_task.audio.opening.pyav_is_installed", lambda: False)
    assert len(read_recording(encoded(tone(1.0, AV_RATE), "OGG", AV_RATE, "OPUS"), AV_RATE)[0]) == AV_RATE
    twice = encoded(tone(1.0), "MP3") + encoded(tone(1.0, 22_050), "MP3", 22_050)
    with pytest.raises(AudioError, match=r"goes on after 1\.00 s, which libsndfile does not decode"):
        read_recording(twice, RATE)
    chained = encoded(tone(1.0), "OGG") * 2
    with pytest.raises(AudioError, match="several recordings one after another"):
        read_recording(chained, RATE)


# Files whose index would take all the memory there is


def test_an_mp4_that_states_more_packets_than_it_holds_is_refused() -> None:
    data = encoded_by_av(burst(1.1), "ipod", "aac")
    table = data.index(b"stsz")
    bomb = data[: table + 8] + struct.pack(">II", 1, 20_000_000) + data[table + 16 :]
    with pytest.raises(AudioError, match=r"an MP4 of \d+ bytes that states 20000000 packets"):
        open_stream(bomb, RATE)
    hidden = b"\0\0\0\x1cmoof\0\0\0\x14trun" + struct.pack(">II", 0, 20_000_000) + bytes(4)
    with pytest.raises(AudioError, match="that states"):
        open_stream(data + hidden, RATE)


def test_a_long_mp4_of_pcm_is_no_such_bomb() -> None:
    data = encoded_by_av(burst(8.0), "mov", "pcm_s16le")
    assert read_recording(data, AV_RATE)[1].duration == 8.0


def test_a_webm_of_tags_is_refused() -> None:
    data = encoded_by_av(burst(1.1), "matroska", "flac")
    start = data.index(b"\x18S\x80g")
    tags = b"\x12T\xc3g" + struct.pack(">Q", 1 << 56 | 3_000_000) + b"\x73\x73\x80" * 1_000_000
    bomb = data[: start + 4] + b"\x01\xff\xff\xff\xff\xff\xff\xff" + tags + data[start + 12 :]
    with pytest.raises(AudioError, match="more than 2097152 bytes of tags and pictures"):
        open_stream(bomb, RATE)


def test_a_packet_of_many_megabytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("desed_task.audio.pyav._MAX_PACKET_BYTES", 1_000)
    with pytest.raises(AudioError, match=r"a packet of \d+ bytes, of at most 1000"):
        list(open_stream(encoded_by_av(burst(1.1), "matroska", "pcm_s16le"), RATE))


def test_no_change_of_a_byte_brings_anything_but_blocks_or_a_refusal() -> None:
    rng = np.random.default_rng(0)
    for form, codec in (("webm", "libopus"), ("ipod", "aac"), ("adts", "aac"), ("mp4", "flac")):
        data = encoded_by_av(tone(0.3, AV_RATE), form, codec)
        for _ in range(40):
            spoilt = bytearray(data)
            for position in rng.integers(0, len(data), 4):
                spoilt[position] = rng.integers(0, 256)
            try:
                with open_stream(bytes(spoilt), RATE, DecodeLimits(max_seconds=60.0, strict=False)) as stream:
                    assert sum(len(block) for block in stream) > 0
            except AudioError as refused:
                assert "\n" not in str(refused)
