"""A recording heard while it is decoded: blocks of mono samples at the wanted rate, in memory that does not grow.

    with open_stream(body, 16_000, DecodeLimits(max_seconds=3600)) as stream:
        for block in stream: ...
    stream.info, stream.warnings

The samples are those of `reading.read_waveform`. One step of the iteration decodes at most 1 MiB of PCM; steps may run
in different threads, one after the other.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from desed_task.audio.decoder import BLOCK_SAMPLES, Decoder, mono_blocks
from desed_task.audio.limits import DecodeLimits
from desed_task.audio.opening import open_decoder, open_file
from desed_task.audio.raw_pcm import RawPcm, open_raw_pcm
from desed_task.audio.resampling import BlockResampler
from desed_task.audio.waveform import AudioInfo, Waveform
from desed_task.errors import AudioError

_NO_LIMITS = DecodeLimits()


def open_stream(
    source: Path | bytes | BinaryIO,
    sample_rate: int,
    limits: DecodeLimits = _NO_LIMITS,
    name: str = "audio",
    raw: RawPcm | None = None,
) -> AudioStream:
    """Open a recording; its blocks come at `sample_rate`.

    source: a file, its bytes, or an open file that can seek, which stays open. name: what bytes and open files are
    called in refusals. raw: the samples have no header. AudioFormatError for a container or codec that is not decoded,
    AudioTooLongError beyond the limits, AudioError for everything else; the last two also while iterating.
    """
    name = str(source) if isinstance(source, Path) else name
    file = _file_of(source)
    try:
        decoder = open_decoder(file, limits, name) if raw is None else open_raw_pcm(file, raw, limits, name)
    except BaseException:
        if file is not source:
            file.close()
        raise
    return AudioStream(decoder, sample_rate, limits, name, file if file is not source else None)


class AudioStream:
    """Iterator of (samples,) float32 blocks. claimed_seconds: what the header says, which may be a lie, or None."""

    def __init__(
        self, decoder: Decoder, sample_rate: int, limits: DecodeLimits, name: str, file: BinaryIO | None = None
    ) -> None:
        """file: closed with the stream."""
        self._decoder, self._file, self._name = decoder, file, name
        self._resampler = BlockResampler(decoder.sample_rate, sample_rate)
        self._num_samples = 0
        self._warnings: list[str] = []
        self.claimed_seconds: float | None = None
        if decoder.claimed_frames is not None:
            self.claimed_seconds = decoder.claimed_frames / decoder.sample_rate
        # So that a block has a bounded size before and after resampling.
        growth = -(-sample_rate // decoder.sample_rate)
        self._blocks = self._resampled(mono_blocks(decoder, limits, name, BLOCK_SAMPLES // growth))

    @property
    def info(self) -> AudioInfo:
        """What the recording is; its duration is that of what was decoded by now."""
        decoder = self._decoder
        duration = self._num_samples / decoder.sample_rate
        return AudioInfo(duration, decoder.sample_rate, decoder.channels, decoder.container)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was wrong with a recording of which a part was decoded nevertheless; known at its end."""
        return tuple(self._warnings)

    def __iter__(self) -> Iterator[Waveform]:
        return self

    def __next__(self) -> Waveform:
        return next(self._blocks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the decoder, and of the file if it was opened here."""
        self._decoder.close()
        if self._file is not None:
            self._file.close()

    def _resampled(self, blocks: Iterator[Waveform]) -> Iterator[Waveform]:
        something = False
        for block in blocks:
            self._num_samples += len(block)
            resampled = self._resampler.feed(block)
            if len(resampled):
                something = True
                yield resampled
        if self._decoder.damage is not None:
            self._warnings.append(f"truncated at {self.info.duration:.2f} s")
        last = self._resampler.end()
        if len(last):
            yield last
        elif not something:
            raise too_short(self._name, self._num_samples, self._decoder.sample_rate)


def too_short(name: str, num_samples: int, sample_rate: int) -> AudioError:
    """For a recording of which resampling leaves nothing."""
    return AudioError(f"{name}: too short, {num_samples} samples at {sample_rate} Hz")


def _file_of(source: Path | bytes | BinaryIO) -> BinaryIO:
    if isinstance(source, Path):
        return open_file(source)
    return io.BytesIO(source) if isinstance(source, bytes) else source
