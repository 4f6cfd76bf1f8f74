"""FLAC, MP3 and Ogg by libsndfile; AU, W64 and CAF of one's own disk too.

libsndfile reads a cut Ogg without a word (see ogg.py); of a cut FLAC or MP3 it says so while decoding. It is read in
blocks and never asked to seek: soundfile seeks after each block of a seekable file, which fails on FLAC that does not
state its length. What a header claims is compared with what was decoded, and used for nothing else.
"""

from __future__ import annotations

import re
from typing import BinaryIO

import numpy as np
import soundfile

from desed_task.audio.decoder import Frames
from desed_task.audio.mp3 import continues
from desed_task.audio.wav import SMALLEST_UNKNOWN_SIZE
from desed_task.errors import AudioError, AudioFormatError

# libsndfile reports this length for streams that do not state one.
_UNKNOWN_LENGTH = 1 << 62
_LOGGED_SIZE = re.compile(r": (\d+) \(should be (\d+)\)")
# Writers disagree on whether a size counts its own header.
_LOGGED_SIZE_SLACK = 16
_LOGS_SIZES = ("AU", "W64", "CAF")
_SUBTYPES = {
    *("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"),
    *("ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32", "VORBIS", "OPUS", "MPEG_LAYER_III"),
}


class _ForwardOnly(soundfile.SoundFile):  # type: ignore[misc]
    """Never seeks by itself."""

    def seekable(self) -> bool:
        return False


class SoundfileDecoder:
    """Decodes a stream of a container that was looked at; see decoder.py."""

    def __init__(self, stream: BinaryIO, container: str, name: str, damage: str | None = None) -> None:
        """damage: what is known of it by now. AudioError when libsndfile cannot open it."""
        self.damage = damage
        self.bounded = False
        stream.seek(0)
        try:
            self._recording = _ForwardOnly(stream)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{name}: {_undecodable(error)}") from None
        if self._recording.subtype not in _SUBTYPES:
            self.close()
            raise AudioFormatError(f"{name}: {self._recording.subtype} in {container} is not decoded; export it as PCM")
        if container in _LOGS_SIZES:
            self.damage = _logged_truncation(self._recording.extra_info)
        self.container, self._stream = container, stream
        self.sample_rate: int = self._recording.samplerate
        self.channels: int = self._recording.channels
        stated: int = self._recording.frames
        self.claimed_frames = stated if stated < _UNKNOWN_LENGTH else None
        self._num_frames = 0
        self._ended = False

    def read(self, max_frames: int) -> Frames:
        """(samples, channels); empty at the end."""
        if self._ended:
            return np.zeros((0, self.channels), np.float32)
        block = np.empty((max_frames, self.channels), np.float32)
        try:
            block = self._recording.read(out=block)
        except soundfile.LibsndfileError as error:
            self.damage = _undecodable(error)
            block = block[: self._decoded_by_now() - self._num_frames]
            self._ended = True
        self._num_frames += len(block)
        if not len(block):
            self._end()
        return block

    def close(self) -> None:
        """Let libsndfile go; the stream stays open."""
        self._recording.close()

    def _end(self) -> None:
        self._ended = True
        decoded = self._num_frames / self.sample_rate
        if self.damage is None and self.claimed_frames is not None and self._num_frames < self.claimed_frames:
            claimed = self.claimed_frames / self.sample_rate
            self.damage = f"truncated, {decoded:.2f} s of {claimed:.2f} s can be decoded; fetch it again"
        elif self.damage is None and self.container == "MP3" and continues(self._stream, self._stream.tell()):
            self.damage = f"changes or goes on after {decoded:.2f} s, which libsndfile does not decode; export it again"

    def _decoded_by_now(self) -> int:
        """libsndfile counts the samples that it gave before an error."""
        try:
            return max(self._num_frames, int(self._recording.tell()))
        except soundfile.LibsndfileError:
            return self._num_frames


def _logged_truncation(log: str) -> str | None:
    """libsndfile reads a cut AU, W64 or CAF as if it were whole, but notes a size beyond the file's end in its log."""
    for stated, actual in ((int(stated), int(actual)) for stated, actual in _LOGGED_SIZE.findall(log)):
        if actual + _LOGGED_SIZE_SLACK < stated < SMALLEST_UNKNOWN_SIZE:
            return f"truncated, {actual} of {stated} bytes are there; fetch it again"
    return None


def _undecodable(error: soundfile.LibsndfileError) -> str:
    return f"not decodable audio ({error.error_string.rstrip('.')})"
