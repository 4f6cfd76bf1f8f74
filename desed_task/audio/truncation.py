"""Recordings that end before their container says they do.

libsndfile reads a cut AU, W64, CAF or Ogg without a word and gives a shorter recording, so a download that broke off
would be trained on, or served, as if it were whole; FFmpeg does so with MP4, WebM and AAC. (Of a cut FLAC or MP3 the
decoders say so themselves. WAV and AIFF are looked at where their headers are read.)

Ogg, MP4 and WebM are walked by their own structure, before decoding (mp4.py, webm.py). For the rest libsndfile's log is
read: it notes "(should be N)" beside a size that goes beyond the file. Each function gives what is wrong, or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO

from desed_task.audio.mp4 import find_truncation_in_mp4
from desed_task.audio.ogg import ogg_pages
from desed_task.audio.pcm import size_of
from desed_task.audio.wav import SMALLEST_UNKNOWN_SIZE
from desed_task.audio.webm import find_truncation_in_webm

_LOGGED_SIZE = re.compile(r": (\d+) \(should be (\d+)\)")
# Writers disagree on whether a size counts its own header.
_LOGGED_SIZE_SLACK = 16


def find_truncation(stream: BinaryIO, container: str, name: str) -> str | None:
    """What an Ogg, MP4 or WebM lacks by its own structure; leaves the stream at its start.

    AudioError for an MP4 or WebM whose index would take more memory than the file deserves.
    """
    find = _FINDERS.get(container)
    fault = find(stream, size_of(stream), name) if find is not None else None
    stream.seek(0)
    return fault


def find_truncation_in_log(log: str) -> str | None:
    """What libsndfile noted when it opened an AU, W64 or CAF: a size beyond the file's end."""
    for stated, actual in ((int(stated), int(actual)) for stated, actual in _LOGGED_SIZE.findall(log)):
        if actual + _LOGGED_SIZE_SLACK < stated < SMALLEST_UNKNOWN_SIZE:
            return f"truncated, {actual} of {stated} bytes are there; fetch it again"
    return None


def _find_in_ogg(stream: BinaryIO, size: int, _name: str) -> str | None:
    """The last page must be whole. Other bytes after the pages are left alone.

    A file cut exactly between two pages looks like the recording of a live stream, and is read as one.
    """
    position = 0
    for page in ogg_pages(stream, size):
        position = page.end
    if position > size:
        return "truncated, it breaks off in the middle of an Ogg page; fetch it again"
    return None


_FINDERS: dict[str, Callable[[BinaryIO, int, str], str | None]] = {
    "OGG": _find_in_ogg,
    "MP4": find_truncation_in_mp4,
    "WEBM": find_truncation_in_webm,
}
