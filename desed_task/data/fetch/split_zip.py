"""Zip archives in several parts (`zip -s`): a.z01, a.z02 ... a.zip, read as one without writing one.

The parts are read as one file, one after another. Only the archive's directory, which stands in the last of them, must
be another: it names the place of a member by the number of its part and a place there. A directory with places in the
whole, made in memory, follows what is read from the parts; Python's zipfile then finds an ordinary archive. Layout and
field names: PKWARE's APPNOTE 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

# Signature, then the fields of the end record, of the locator of its 64-bit twin, and of that twin.
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_END_SIGNATURE, _LOCATOR_SIGNATURE, _END_64_SIGNATURE = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_ENTRY_SIGNATURE = b"PK\x01\x02"
_LONGEST_COMMENT = 0xFFFF
_SEE_64, _SEE_64_SHORT, _ZIP_64_FIELD = 0xFFFFFFFF, 0xFFFF, 0x0001


def is_split(archive: Path) -> bool:
    """Whether other parts of the archive lie beside it."""
    return bool(_earlier_parts(archive))


@contextmanager
def opened_zip_file(archive: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, with all its parts. BadZipFile where one is missing or damaged."""
    earlier = _earlier_parts(archive)
    with ExitStack() as stack:
        parts = [stack.enter_context(path.open("rb")) for path in [*earlier, archive]]
        sizes = [path.stat().st_size for path in [*earlier, archive]]
        is_last = bool(earlier) or _is_last_of_several(parts[0], sizes[0])
        with zipfile.ZipFile(_as_one(parts, sizes) if is_last else parts[0]) as opened:
            yield opened


def part_paths(archive: Path) -> list[Path]:
    """All parts that are there, the last one last."""
    return [*_earlier_parts(archive), *([archive] if archive.exists() else [])]


def _earlier_parts(archive: Path) -> list[Path]:
    name = re.compile(rf"{re.escape(archive.stem)}\.z(\d\d+)")
    if archive.suffix.lower() != ".zip" or not archive.parent.is_dir():
        return []
    found = [(int(matched[1]), path) for path in archive.parent.iterdir() if (matched := name.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def _is_last_of_several(part: BinaryIO, size: int) -> bool:
    """Whether an archive says that there are parts before it, of which none is there."""
    part.seek(max(0, size - _LONGEST_COMMENT - _END.size))
    tail = part.read()
    place = tail.rfind(_END_SIGNATURE)
    return len(tail) >= place + _END.size and place >= 0 and 0 < _END.unpack_from(tail, place)[1] < _SEE_64_SHORT


def _as_one(parts: Sequence[BinaryIO], sizes: Sequence[int]) -> io.BufferedIOBase:
    firsts = [0, *accumulate(sizes)]
    whole: io.BufferedIOBase = io.BufferedReader(_Joined(parts, sizes))
    last_part, directory_part, directory_place, directory_size, num_entries = _read_end(whole, firsts)
    if last_part != len(parts) - 1:
        raise zipfile.BadZipFile(f"it has {last_part + 1} parts, {len(parts)} are there")
    begin = firsts[directory_part] + directory_place
    whole.seek(begin)
    directory = _moved_directory(whole.read(directory_size), num_entries, firsts)
    end = _end_of(begin, len(directory), num_entries)
    return io.BufferedReader(_Joined([*parts, io.BytesIO(directory + end)], _cut(sizes, begin, len(directory + end))))


def _cut(sizes: Sequence[int], num_bytes: int, last: int) -> list[int]:
    """Sizes that add up to `num_bytes`, then that of one more piece."""
    cut = []
    for size in sizes:
        cut.append(min(size, num_bytes))
        num_bytes -= cut[-1]
    return [*cut, last]


def _read_end(whole: io.BufferedIOBase, firsts: Sequence[int]) -> tuple[int, int, int, int, int]:
    """(number of the last part, part and place where the directory begins, its size, its entries)."""
    tail_begin = max(0, firsts[-1] - _LONGEST_COMMENT - _END.size - _LOCATOR.size)
    whole.seek(tail_begin)
    tail = whole.read()
    place = tail.rfind(_END_SIGNATURE)
    if place < 0 or len(tail) < place + _END.size:
        raise zipfile.BadZipFile("its last part has no end record")
    _, last_part, directory_part, _, num_entries, size, offset, _ = _END.unpack_from(tail, place)
    before = place - _LOCATOR.size
    if before >= 0 and tail[before : before + 4] == _LOCATOR_SIGNATURE:
        _, part, offset_64, _ = _LOCATOR.unpack_from(tail, before)
        whole.seek(firsts[min(part, len(firsts) - 1)] + offset_64)
        record = whole.read(_END_64.size)
        if len(record) < _END_64.size or record[:4] != _END_64_SIGNATURE:
            raise zipfile.BadZipFile("a part is missing or another's")
        _, _, _, _, last_part, directory_part, _, num_entries, size, offset = _END_64.unpack(record)
    if directory_part >= len(firsts) - 1:
        raise zipfile.BadZipFile(f"it has {last_part + 1} parts, {len(firsts) - 1} are there")
    return last_part, directory_part, offset, size, num_entries


def _moved_directory(directory: bytes, num_entries: int, firsts: Sequence[int]) -> bytes:
    """The directory with the places of members in the whole."""
    moved, place = [], 0
    for _ in range(num_entries):
        if directory[place : place + 4] != _ENTRY_SIGNATURE or len(directory) < place + _ENTRY.size:
            raise zipfile.BadZipFile("its directory is damaged")
        *head, packed, unpacked, name_size, extra_size, comment_size, part, inner, outer, offset = _ENTRY.unpack_from(
            directory, place
        )
        name_end = place + _ENTRY.size + name_size
        extra_end = name_end + extra_size
        end = extra_end + comment_size
        others, large = _split_extra(directory[name_end:extra_end])
        values = [*struct.unpack(f"<{len(large) // 8}Q", large[: len(large) // 8 * 8]), 0, 0, 0]
        unpacked = values.pop(0) if unpacked == _SEE_64 else unpacked
        packed = values.pop(0) if packed == _SEE_64 else packed
        offset = values.pop(0) if offset == _SEE_64 else offset
        part = int.from_bytes(large[-4:], "little") if part == _SEE_64_SHORT else part
        if part >= len(firsts) - 1:
            raise zipfile.BadZipFile("its directory names a part that is not there")
        # All three in 64 bits, whatever their size: there is one layout then.
        extra = struct.pack("<2H3Q", _ZIP_64_FIELD, 24, unpacked, packed, firsts[part] + offset) + others
        sizes = (name_size, len(extra), comment_size)
        moved += [
            _ENTRY.pack(*head, _SEE_64, _SEE_64, *sizes, 0, inner, outer, _SEE_64),
            directory[place + _ENTRY.size : name_end] + extra + directory[extra_end:end],
        ]
        place = end
    return b"".join(moved)


def _split_extra(extra: bytes) -> tuple[bytes, bytes]:
    """An entry's further fields without that of 64 bits, and the content of that one."""
    others, large, place = b"", b"", 0
    while place + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, place)
        field = extra[place : place + 4 + size]
        if kind == _ZIP_64_FIELD:
            large = field[4:]
        else:
            others += field
        place += 4 + size
    return others, large


def _end_of(begin: int, size: int, num_entries: int) -> bytes:
    """The end record of an archive of one part, with its 64-bit twin."""
    end_64 = _END_64.pack(_END_64_SIGNATURE, _END_64.size - 12, 45, 45, 0, 0, num_entries, num_entries, size, begin)
    locator = _LOCATOR.pack(_LOCATOR_SIGNATURE, 0, begin + size, 1)
    short = (_SEE_64_SHORT, _SEE_64_SHORT)
    return end_64 + locator + _END.pack(_END_SIGNATURE, 0, 0, *short, _SEE_64, _SEE_64, 0)


class _Joined(io.RawIOBase):
    """The first `sizes[n]` bytes of each stream, one after another."""

    def __init__(self, streams: Sequence[BinaryIO], sizes: Sequence[int]) -> None:
        self._streams = streams
        self._ends = list(accumulate(sizes))
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._ends[-1]}[whence]
        self._place = max(0, origin + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        number = bisect_right(self._ends, self._place)
        if number >= len(self._streams):
            return 0
        begin = self._ends[number - 1] if number else 0
        self._streams[number].seek(self._place - begin)
        block = self._streams[number].read(min(len(buffer), self._ends[number] - self._place))
        buffer[: len(block)] = block
        self._place += len(block)
        return len(block)
