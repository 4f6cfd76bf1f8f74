"""Clips of YouTube videos: their names, what is plausible, and what a failure means.

AudioSet names a clip `Y<11 characters of the video>_<start>_<end>.wav`, seconds within the video. Whoever downloads
one is a `ClipDownloader`; its failures are told apart by their message: some stay (the video is gone, private, for
members, for adults), others pass (no network, too many requests, a damaged file). What is not understood passes: a clip
given up wrongly is lost to every later run, one tried again costs a minute.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from desed_task.audio.reading import AudioInfo
from desed_task.errors import FetchError

# Of the 1168 clips of DESED's validation set 77 are shorter than their name by more than .25 s, none by more than 1 s,
# none is longer (validation_durations.tsv as published, one decimal).
SHORTER_BY_AT_MOST_SECONDS = 1.1
LONGER_BY_AT_MOST_SECONDS = 0.25

_NAME = re.compile(r"Y(?P<video_id>[\w-]{11})_(?P<start>\d+(?:\.\d+)?)_(?P<end>\d+(?:\.\d+)?)\.wav", re.ASCII)


@dataclass(frozen=True)
class VideoClip:
    """A part of a video: file name as in the tables, id of the video, start and end in seconds."""

    filename: str
    video_id: str
    start: float
    end: float

    @property
    def duration(self) -> float:
        """Seconds, as its name has it."""
        return self.end - self.start


class ClipDownloader(Protocol):
    """Brings one clip; several threads ask at once."""

    def download(self, video_id: str, start: float, end: float, target: Path) -> None:
        """Write the clip to `target` as WAV. ClipFailureError with what the program said."""

    def end_all(self) -> None:
        """End every download under way, from another thread; each then raises ClipFailureError."""


class ClipFailureError(Exception):
    """A clip that did not come; the message is the downloader's."""


class Failure(Enum):
    """What a failed download means for the clip."""

    STAYS = "permanent"
    THROTTLED = "throttled"
    PASSES = "temporary"


def parse_clip(filename: str, listed_in: Path) -> VideoClip:
    """The clip that a file name of AudioSet stands for."""
    found = _NAME.fullmatch(filename)
    if found is None or float(found["end"]) <= float(found["start"]):
        raise FetchError(f"{listed_in}: {filename!r} is not named Y<video id>_<start>_<end>.wav; fetch the table again")
    return VideoClip(filename, found["video_id"], float(found["start"]), float(found["end"]))


def fault_of(clip: VideoClip, info: AudioInfo) -> str | None:
    """Why a readable recording cannot be that clip; None where it can."""
    shortest = max(clip.duration - SHORTER_BY_AT_MOST_SECONDS, 0.0)
    if shortest < info.duration <= clip.duration + LONGER_BY_AT_MOST_SECONDS:
        return None
    return f"lasts {info.duration:.2f} s instead of {clip.duration:g} s"


# As yt-dlp prints them; throttling is looked for first, since it also calls videos unavailable.
_THROTTLED = (
    *("http error 429", "too many requests", "not a bot", "rate-limited", "try again later", "captcha"),
    "http error 403",  # of the audio itself: the address has expired, or there were too many
)
_STAYS = (
    *("video unavailable", "this video is unavailable", "video is not available", "no longer available"),
    *("private video", "video is private", "has been removed", "been terminated", "account is closed", "copyright"),
    *(
        "confirm your age",
        "age-restricted",
        "inappropriate for some users",
        "members-only",
        "available to this channel",
    ),
    *("in your country", "in your location", "geo restriction", "geo-restriction", "video does not exist"),
    *("requires payment", "drm protected", "video has been blocked", "community guidelines", "violating youtube"),
    "incomplete youtube id",
)


def meaning_of(message: str) -> Failure:
    """Whether a failure stays, passes, or asks everybody to slow down."""
    text = message.replace("’", "'").lower()
    if any(words in text for words in _THROTTLED):
        return Failure.THROTTLED
    return Failure.STAYS if any(words in text for words in _STAYS) else Failure.PASSES
