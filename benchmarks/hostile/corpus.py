"""Some 400 bodies that a service must survive: each is answered, or refused with a reason.

    whole       every container and codec, those that are not allowed too
    cut         recordings that end where a part of them begins, and just after
    lying       headers that say what is not so
    strange     whole recordings of NaN, of no samples, of 1024 channels ...
    foreign     no audio, or something else besides; requests that are malformed around their audio
    bomb        hours of silence in few bytes

How large the bombs are is for who asks to say: 300 kB in tests, 25 MB where memory is measured.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.hostile.bombs import bombs
from benchmarks.hostile.chunk_layout import boundaries
from benchmarks.hostile.foreign_files import foreign_files, malformed_requests
from benchmarks.hostile.lies import lies
from benchmarks.hostile.strange_sounds import strange_sounds
from benchmarks.hostile.whole_files import ALLOWED, whole_files

RAW = "application/octet-stream"
_CUT = (
    *("wav pcm16", "wavex pcm16", "rf64 pcm16", "flac pcm16", "ogg vorbis", "ogg opus", "mp3", "aiff pcm16"),
    *("m4a aac", "adts aac", "webm opus"),
)
_CUTS_OF_ONE = 8


@dataclass(frozen=True)
class HostileFile:
    """One body. answered: whether it must be answered (True), refused (False), or may be either (None)."""

    name: str
    content: bytes
    content_type: str = RAW
    answered: bool | None = None


@functools.cache
def hostile_files(bomb_bytes: int = 300_000) -> Sequence[HostileFile]:
    """All of them, in order of their names, which stay the same."""
    files = [*_whole(), *_cut(), *_plain("lying", lies(), None), *_strange(), *_foreign()]
    files += _plain("bomb", bombs(bomb_bytes), None)
    return sorted(files, key=lambda file: file.name)


def decodable(files: Sequence[HostileFile]) -> list[bytes]:
    """Contents that begin as recordings of an allowed container: what mutations start from."""
    return [file.content for file in files if file.name.partition(":")[0] in ("cut", "lying", "strange", "allowed")]


def _whole() -> Iterator[HostileFile]:
    for name, content in whole_files().items():
        allowed = name in ALLOWED
        yield HostileFile(f"{'allowed' if allowed else 'not allowed'}: {name}", content, RAW, allowed or None)


def _cut() -> Iterator[HostileFile]:
    for name in _CUT:
        content = whole_files()[name]
        places = boundaries(content)[:-1]
        # Evenly, when there are many; each as it is and some bytes further.
        chosen = places[:: max(1, len(places) // (_CUTS_OF_ONE // 2))][: _CUTS_OF_ONE // 2]
        for place in chosen:
            for further in (0, 5):
                yield HostileFile(f"cut: {name} after {place + further} bytes", content[: place + further])
        yield HostileFile(f"cut: {name} in the middle", content[: len(content) // 2])
        yield HostileFile(f"cut: {name} before its last byte", content[:-1])


def _strange() -> Iterator[HostileFile]:
    for name, (content, answered) in strange_sounds().items():
        yield HostileFile(f"strange: {name}", content, RAW, answered)


def _foreign() -> Iterator[HostileFile]:
    yield from _plain("foreign", foreign_files(), None)
    for name, (content, content_type) in malformed_requests().items():
        yield HostileFile(f"malformed: {name}", content, content_type)


def _plain(kind: str, contents: Mapping[str, bytes], answered: bool | None) -> list[HostileFile]:
    return [HostileFile(f"{kind}: {name}", content, RAW, answered) for name, content in contents.items()]
