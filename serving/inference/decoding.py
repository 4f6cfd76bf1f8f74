"""How a body becomes blocks of samples: in this process, or in one of its own (`decode_pool`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from desed_task.audio.limits import DecodeLimits
from desed_task.audio.stream import open_stream
from desed_task.audio.waveform import AudioInfo, Waveform
from serving.inference.recording import ListenRequest
from serving.settings import ServingOptions

# Of the longest recording that is taken: 8 channels at 48 kHz. At higher rates, of more channels, it may be less long.
_SAMPLES_PER_SECOND = 400_000


class BlockStream(Protocol):
    """A recording that is being decoded; what `audio.open_stream` gives is one.

    info: its duration is that of what was decoded by now; warnings: known at its end; claimed_seconds: what the header
    says, which may be a lie.
    """

    claimed_seconds: float | None

    @property
    def info(self) -> AudioInfo:
        """What the recording is."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was wrong with it."""

    def __iter__(self) -> Iterator[Waveform]:
        """Blocks of (samples,) float32."""

    def close(self) -> None:
        """Let go of the decoder."""


class Opener(Protocol):
    """What opens a body for a model of `sample_rate`; errors as of `audio.open_stream`."""

    def __call__(self, body: bytes | BinaryIO, sample_rate: int, request: ListenRequest) -> BlockStream:
        """The stream of blocks."""


class ThreadOpener:
    """Decodes in the calling thread."""

    def __init__(self, settings: ServingOptions) -> None:
        self._limits = {strict: limits_of(settings, strict) for strict in (True, False)}

    def __call__(self, body: bytes | BinaryIO, sample_rate: int, request: ListenRequest) -> BlockStream:
        limits = self._limits[request.strict]
        if isinstance(body, bytes):
            return open_stream(body, sample_rate, limits, request.name, request.raw)
        # A file of our own: who gave it may close it as soon as it waits no more, while a step still reads.
        file = _reopened(body)
        if file is body:
            return open_stream(file, sample_rate, limits, request.name, request.raw)
        try:
            return _Owning(open_stream(file, sample_rate, limits, request.name, request.raw), file)
        except BaseException:
            file.close()
            raise


class _Owning:
    """A stream that closes its file."""

    def __init__(self, stream: BlockStream, file: BinaryIO) -> None:
        self._stream, self._file = stream, file
        self.claimed_seconds = stream.claimed_seconds

    @property
    def info(self) -> AudioInfo:
        return self._stream.info

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._stream.warnings

    def __iter__(self) -> Iterator[Waveform]:
        return iter(self._stream)

    def close(self) -> None:
        self._stream.close()
        self._file.close()


def import_decoders() -> None:
    """Before recordings come: the first one that needs PyAV would hold up every thread while it is imported."""
    with contextlib.suppress(ImportError):
        import av  # noqa: F401


def limits_of(settings: ServingOptions, strict: bool) -> DecodeLimits:
    """What a recording may be."""
    return DecodeLimits(
        max_seconds=settings.max_audio_seconds,
        max_samples=round(_SAMPLES_PER_SECOND * settings.max_audio_seconds),
        max_channels=settings.max_channels,
        strict=strict,
    )


def _reopened(file: BinaryIO) -> BinaryIO:
    """The same file under a descriptor of its own; what lies in memory is taken as it is."""
    try:
        return os.fdopen(os.dup(file.fileno()), "rb")
    except (AttributeError, OSError):  # io.UnsupportedOperation is an OSError
        return file
