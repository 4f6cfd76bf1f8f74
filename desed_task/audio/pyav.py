"""MP4, WebM, AAC and Opus by PyAV, which is FFmpeg's libraries; also what libsndfile cannot open of an allowed format.

FFmpeg gets a file object, a format that is fixed by what we found in the first bytes, a list of decoders that it may
open, and nothing it could open by a name of its own. Only one audio stream is read, with one thread. The rate is that
of the first decoded samples: of HE-AAC the header says half of it. PyAV is part of the extra `serve` and is imported
when it is first needed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

import numpy as np

from desed_task.audio.decoder import Frames
from desed_task.errors import AudioError, AudioFormatError

_FORMATS = {"MP4": "mp4", "WEBM": "webm", "AAC": "aac", "OGG": "ogg", "FLAC": "flac", "MP3": "mp3"}
_PCM_DECODERS = (
    *("pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be"),
    *("pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_alaw", "pcm_mulaw"),
)
_DECODERS = ("aac", "opus", "vorbis", "mp3float", "mp3", "flac", "alac", *_PCM_DECODERS)
_OPTIONS = {
    "codec_whitelist": ",".join(_DECODERS),
    "protocol_whitelist": "none",
    "max_streams": "16",
    # Bytes and microseconds that are looked at before decoding.
    "probesize": str(1 << 20),
    "analyzeduration": "1000000",
}
# No packet of compressed audio is as large; one of PCM may be, and would be copied a few times.
_MAX_PACKET_BYTES = 1 << 21
_SCALES = {"s16": 2.0**-15, "s32": 2.0**-31, "flt": 1.0, "dbl": 1.0}
_ADTS_HEADER_BYTES = 7


def pyav_is_installed() -> bool:
    """Whether PyAV can be imported; it is not."""
    return importlib.util.find_spec("av") is not None


class PyavDecoder:
    """Decodes a stream of a container that was looked at; see decoder.py."""

    def __init__(self, stream: BinaryIO, container: str, name: str, damage: str | None = None) -> None:
        """damage: what is known of it by now; FFmpeg says nothing of a file that breaks off.

        AudioFormatError for another codec, or without PyAV; AudioError when FFmpeg cannot open it.
        """
        self._av = _import_av(container, name)
        self.container, self._name = container, name
        self.damage = damage
        self.bounded = False
        stream.seek(0)
        try:
            self._opened = self._av.open(
                stream,
                mode="r",
                format=_FORMATS[container],
                container_options=_OPTIONS,
                io_open=_open_nothing,
                metadata_errors="replace",
            )
        except (self._av.FFmpegError, ValueError) as error:
            raise AudioError(f"{name}: {self.damage or _undecodable(error)}") from None
        try:
            self._packets = self._opened.demux(self._audio_stream())
            self._frames = self._decoded_frames()
            self._pending: Any = next(self._frames, None)
            if self._pending is None:
                raise AudioError(f"{name}: {self.damage or 'holds no samples'}")
        except BaseException:
            self.close()
            raise
        self._offset = 0
        self.sample_rate: int = self._pending.sample_rate
        self.channels: int = self._pending.layout.nb_channels
        self.claimed_frames = self._claimed_frames()

    def read(self, max_frames: int) -> Frames:
        """(samples, channels); empty at the end. The channels may change between two blocks, the rate may not."""
        first = self._pending
        if first is None:
            return np.zeros((0, self.channels), np.float32)
        parts: list[Any] = []
        wanted = max_frames
        while wanted > 0 and self._pending is not None and _kind(self._pending) == _kind(first):
            part = _samples(self._pending)[self._offset : self._offset + wanted]
            parts.append(part)
            wanted -= len(part)
            self._offset += len(part)
            if self._offset >= self._pending.samples:
                self._pending, self._offset = next(self._frames, None), 0
        return _as_float(np.concatenate(parts), first.format.name)

    def close(self) -> None:
        """Let FFmpeg go; the stream stays open."""
        self._opened.close()

    def _audio_stream(self) -> Any:
        """The first audio stream, whose codec is on the list; all other streams are passed over."""
        if not self._opened.streams.audio:
            raise AudioFormatError(f"{self._name}: holds no audio")
        chosen = self._opened.streams.audio[0]
        context = chosen.codec_context
        if context is None or context.codec.name not in _DECODERS:
            codec = "an unknown codec" if context is None else context.name
            raise AudioFormatError(f"{self._name}: {codec} in {self.container} is not decoded; send it as FLAC or WAV")
        context.thread_count = 1
        for other in self._opened.streams:
            if other.index != chosen.index:
                other.discard = self._av.stream.Discard.all
        return chosen

    def _decoded_frames(self) -> Iterator[Any]:
        """Frames that hold samples, up to the end or to the first fault, which is the recording's damage."""
        last, rate, fault = None, 0, None
        try:
            for packet in self._packets:
                if packet.size > _MAX_PACKET_BYTES:
                    raise AudioError(f"{self._name}: a packet of {packet.size} bytes, of at most {_MAX_PACKET_BYTES}")
                last = packet if packet.size else last
                for frame in self._frames_of(packet):
                    if rate not in (0, frame.sample_rate):
                        self._refuse_other_rate(rate, frame.sample_rate)
                    rate = frame.sample_rate
                    if frame.samples:
                        yield frame
        except (self._av.FFmpegError, ValueError) as error:
            fault = _undecodable(error)
        if self.container == "AAC" and last is not None and _is_cut_off(bytes(last)):
            fault = "truncated, it breaks off in the middle of an AAC frame; fetch it again"
        self.damage = self.damage or fault

    def _frames_of(self, packet: Any) -> list[Any]:
        """A packet decoded. A bad frame of MP3 is passed over, as libsndfile does: other things stand between them."""
        try:
            decoded: list[Any] = packet.decode()
        except self._av.error.InvalidDataError:
            if self.container != "MP3":
                raise
            return []
        return decoded

    def _refuse_other_rate(self, rate: int, other: int) -> NoReturn:
        raise AudioError(f"{self._name}: its sample rate changes from {rate} to {other} Hz; export it with one rate")

    def _claimed_frames(self) -> int | None:
        microseconds = self._opened.duration
        return int(microseconds * self.sample_rate // 1_000_000) if microseconds and microseconds > 0 else None


def _import_av(container: str, name: str) -> Any:
    try:
        import av
    except ImportError:
        raise AudioFormatError(
            f"{name}: decoding {container} needs the package av; `pip install 'desed-task[serve]'`"
        ) from None
    return av


def _open_nothing(url: str, _flags: int, _options: dict[str, str]) -> NoReturn:
    raise PermissionError(f"a recording asks for {url[:80]!r}")


def _kind(frame: Any) -> tuple[str, int]:
    return frame.format.name, frame.layout.nb_channels


def _samples(frame: Any) -> Any:
    """(samples, channels) as FFmpeg has them."""
    array = frame.to_ndarray()
    return array.T if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels)


def _as_float(samples: Any, sample_format: str) -> Frames:
    kind = sample_format.removesuffix("p")
    with np.errstate(all="ignore"):
        floats: Frames = samples.astype(np.float32)
    if kind == "u8":
        return (floats - np.float32(128)) / np.float32(128)
    if kind not in _SCALES:
        raise AudioError(f"samples of the kind {kind} are not decoded")
    return floats if kind in ("flt", "dbl") else floats * np.float32(_SCALES[kind])


def _is_cut_off(packet: bytes) -> bool:
    """Whether an ADTS frame's header states more bytes than there are (ISO 13818-7, 6.2.1)."""
    if len(packet) < _ADTS_HEADER_BYTES or packet[0] != 0xFF:
        return False
    return ((packet[3] & 3) << 11 | packet[4] << 3 | packet[5] >> 5) > len(packet)


def _undecodable(error: Exception) -> str:
    words = getattr(error, "strerror", None) or str(error)
    return f"not decodable audio ({words.rstrip('.')})"
