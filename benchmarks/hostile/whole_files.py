"""Sound recordings of 1 s, as bytes of every container and codec that a service may be sent: what hostile ones are
made of.

Names are `container codec`. Those in `ALLOWED` are what a service should answer; the others are containers and codecs
that it should refuse by name, whole as they are.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from typing import cast

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000
# name -> container and subtype of libsndfile
_BY_LIBSNDFILE = {
    "wav pcm16": ("WAV", "PCM_16"),
    "wav pcm24": ("WAV", "PCM_24"),
    "wav pcm8": ("WAV", "PCM_U8"),
    "wav float": ("WAV", "FLOAT"),
    "wav double": ("WAV", "DOUBLE"),
    "wav a-law": ("WAV", "ALAW"),
    "wav mu-law": ("WAV", "ULAW"),
    "wavex pcm16": ("WAVEX", "PCM_16"),
    "rf64 pcm16": ("RF64", "PCM_16"),
    "flac pcm16": ("FLAC", "PCM_16"),
    "flac pcm24": ("FLAC", "PCM_24"),
    "ogg vorbis": ("OGG", "VORBIS"),
    "ogg opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff pcm16": ("AIFF", "PCM_16"),
    "wav ima adpcm": ("WAV", "IMA_ADPCM"),
    "wav ms adpcm": ("WAV", "MS_ADPCM"),
    "wav gsm": ("WAV", "GSM610"),
    "aiff ima adpcm": ("AIFF", "IMA_ADPCM"),
    "sds": ("SDS", "PCM_16"),
    "htk": ("HTK", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "au g721": ("AU", "G721_32"),
    "caf": ("CAF", "PCM_16"),
    "caf alac": ("CAF", "ALAC_16"),
    "w64": ("W64", "PCM_16"),
    "voc": ("VOC", "PCM_16"),
    "paf": ("PAF", "PCM_16"),
    "svx": ("SVX", "PCM_16"),
    "mat5": ("MAT5", "PCM_16"),
    "ircam": ("IRCAM", "PCM_16"),
    "nist": ("NIST", "PCM_16"),
    "xi": ("XI", "DPCM_16"),
}
# name -> muxer, encoder and rate of FFmpeg
_BY_FFMPEG = {
    "m4a aac": ("ipod", "aac", 44_100),
    "adts aac": ("adts", "aac", 44_100),
    "webm opus": ("webm", "libopus", 48_000),
    "m4a alac": ("ipod", "alac", 44_100),
    "matroska pcm16": ("matroska", "pcm_s16le", 44_100),
    "ac3": ("ac3", "ac3", 44_100),
    "mp4 mp3": ("mp4", "libmp3lame", 44_100),
    "flv": ("flv", "aac", 44_100),
}
ALLOWED = (
    *("wav pcm16", "wav pcm24", "wav pcm8", "wav float", "wav double", "wav a-law", "wav mu-law", "wavex pcm16"),
    *("rf64 pcm16", "flac pcm16", "flac pcm24", "ogg vorbis", "ogg opus", "mp3", "aiff pcm16"),
    *("m4a aac", "adts aac", "webm opus"),
)


@functools.cache
def whole_files() -> Mapping[str, bytes]:
    """Every container and codec that can be written here, 1 s of mono each."""
    found = {name: encode(sweep(RATE), *kind) for name, kind in _BY_LIBSNDFILE.items()}
    return found | {name: encode_with_ffmpeg(sweep(kind[2]), *kind) for name, kind in _BY_FFMPEG.items()}


def sweep(num_samples: int, channels: int = 1) -> NDArray[np.float32]:
    """A tone that rises and swells, (samples,) or (samples, channels)."""
    time = np.linspace(0, 1, num_samples, endpoint=False)
    tone = (0.5 * np.sin(2 * np.pi * (200 + 900 * time) * time) * np.sin(np.pi * time)).astype(np.float32)
    return tone if channels == 1 else np.repeat(tone[:, None], channels, axis=1)


def encode(waveform: NDArray[np.float32], container: str, subtype: str | None, rate: int = RATE) -> bytes:
    """(samples,) or (samples, channels) by libsndfile."""
    stream = io.BytesIO()
    soundfile.write(stream, waveform, rate, format=container, subtype=subtype)
    return stream.getvalue()


def encode_with_ffmpeg(waveform: NDArray[np.float32], muxer: str, encoder: str, rate: int) -> bytes:
    """(samples,) by FFmpeg."""
    stream = io.BytesIO()
    with av.open(stream, "w", format=muxer) as container:
        track = cast(av.AudioStream, container.add_stream(encoder, rate=rate, layout="mono"))
        samples = np.rint(waveform * 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in [*track.encode(frame), *track.encode(None)]:
            container.mux(packet)
    return stream.getvalue()


def video_only(muxer: str, encoder: str) -> bytes:
    """Three black pictures of 16 x 16 and no sound."""
    stream = io.BytesIO()
    with av.open(stream, "w", format=muxer) as container:
        track = cast(av.VideoStream, container.add_stream(encoder, rate=5))
        track.width, track.height, track.pix_fmt = 16, 16, "yuv420p"
        packets = [packet for _ in range(3) for packet in track.encode(av.VideoFrame(16, 16, "yuv420p"))]
        for packet in [*packets, *track.encode(None)]:
            container.mux(packet)
    return stream.getvalue()
