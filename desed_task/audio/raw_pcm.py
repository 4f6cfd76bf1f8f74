"""Samples without a header, whose rate and channels a Content-Type says.

    audio/L16;rate=16000;channels=1   signed 16 bits, big-endian (RFC 2586, RFC 3551 4.5.11)
    audio/pcm;rate=16000;channels=1   signed 16 bits, little-endian, as machines and browsers have them

One channel where none is said; a rate has to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from desed_task.audio.decoder import Decoder, refuse_damaged
from desed_task.audio.limits import DecodeLimits
from desed_task.audio.pcm import PcmDecoder, PcmFormat, size_of
from desed_task.errors import AudioError

_BIG_ENDIAN = {"audio/l16": True, "audio/pcm": False}
_BYTES_PER_SAMPLE = 2


@dataclass(frozen=True)
class RawPcm:
    """Interleaved signed 16-bit samples; sample_rate in Hz."""

    sample_rate: int
    channels: int = 1
    big_endian: bool = False

    def seconds(self, num_bytes: int) -> float:
        """What so many bytes last."""
        return num_bytes / (_BYTES_PER_SAMPLE * self.channels * self.sample_rate)


@lru_cache(maxsize=256)
def raw_pcm_of(content_type: str | None) -> RawPcm | None:
    """What a Content-Type says of raw samples; None for any other type. AudioError when it does not say enough."""
    kind, _, rest = (content_type or "").partition(";")
    kind = kind.strip().lower()
    if kind not in _BIG_ENDIAN:
        return None
    parameters = dict(_parameter(part) for part in rest.split(";") if part.strip())
    if "rate" not in parameters:
        raise AudioError(f"Content-Type {kind}: says no rate; send {kind};rate=16000;channels=1")
    rate = _whole_number(kind, "rate", parameters["rate"])
    return RawPcm(rate, _whole_number(kind, "channels", parameters.get("channels", "1")), _BIG_ENDIAN[kind])


def open_raw_pcm(stream: BinaryIO, raw: RawPcm, limits: DecodeLimits, name: str) -> Decoder:
    """The decoder of a stream of raw samples. AudioError when it holds none, or too many for the limits."""
    size = size_of(stream)
    if size == 0:
        raise AudioError(f"{name}: empty (0 bytes); send signed 16-bit samples")
    limits.require_rate(raw.sample_rate, name)
    limits.require_channels(raw.channels, name)
    limits.require_length(size // (_BYTES_PER_SAMPLE * raw.channels), raw.channels, raw.sample_rate, name)
    odd = size % (_BYTES_PER_SAMPLE * raw.channels)
    damage = f"{size} bytes are no whole number of 16-bit samples of {raw.channels} channels" if odd else None
    pcm = PcmFormat("signed", _BYTES_PER_SAMPLE, raw.big_endian)
    decoder = PcmDecoder(stream, pcm, "PCM", raw.sample_rate, raw.channels, 0, size, damage)
    if limits.strict:
        refuse_damaged(decoder, name)
    return decoder


def _parameter(part: str) -> tuple[str, str]:
    key, _, value = part.partition("=")
    return key.strip().lower(), value.strip().strip('"')


def _whole_number(kind: str, key: str, text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if number < 1:
        raise AudioError(f"Content-Type {kind}: {key}={text[:20]!r} is no whole number from 1 on")
    return number
