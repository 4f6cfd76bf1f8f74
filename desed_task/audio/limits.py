"""What a recording may be: its length, channels and rate, its containers, and whether it must be whole.

They are held against what is decoded, block by block; what a header claims only ever makes a refusal come sooner.
"""

from __future__ import annotations

from dataclasses import dataclass

from desed_task.audio.containers import CONTAINERS
from desed_task.errors import AudioError, AudioTooLongError


@dataclass(frozen=True)
class DecodeLimits:
    """None: no limit. Rates in Hz.

    max_samples: over all channels, at the recording's own rate; a second of few kilobytes may hold millions of them.
    A header with 1 Hz would turn a kilobyte into hours of silence; nobody records sound events below 1 kHz. Not strict:
    of a truncated or damaged recording what there is, with a warning.
    """

    max_seconds: float | None = None
    max_samples: int | None = None
    max_channels: int | None = None
    lowest_rate: int = 1_000
    highest_rate: int = 768_000
    strict: bool = True
    containers: tuple[str, ...] = CONTAINERS

    def require_rate(self, sample_rate: int, name: str) -> None:
        """AudioError for a rate at which nobody records."""
        if sample_rate < self.lowest_rate:
            raise AudioError(f"{name}: a sample rate of {sample_rate} Hz; record it at 8 kHz or more")
        if sample_rate > self.highest_rate:
            raise AudioError(f"{name}: a sample rate of {sample_rate} Hz; at most {self.highest_rate} Hz are read")

    def require_channels(self, channels: int, name: str) -> None:
        """AudioError for more channels than the limit."""
        if self.max_channels is not None and channels > self.max_channels:
            raise AudioError(f"{name}: {channels} channels, at most {self.max_channels} are read; mix it down")

    def require_length(self, num_samples: int, channels: int, sample_rate: int, name: str) -> None:
        """AudioTooLongError when so many samples of each channel are more than the limits."""
        if self.max_seconds is not None and num_samples > self.max_seconds * sample_rate:
            raise AudioTooLongError(f"{name}: longer than the limit of {self.max_seconds:g} s")
        if self.max_samples is not None and num_samples * channels > self.max_samples:
            raise AudioTooLongError(
                f"{name}: more than the limit of {self.max_samples} samples over its {channels} channels at "
                f"{sample_rate} Hz; mix it down, or resample it"
            )
