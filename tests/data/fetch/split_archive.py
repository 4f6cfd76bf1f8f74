"""Zip archives cut into parts as `zip -s` does, for machines without that program."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

PART_BYTES = 65_536


def split(files: dict[str, bytes], folder: Path, part_bytes: int = PART_BYTES, zip_64: bool = False) -> Path:
    """A zip cut into parts; its directory names the part and the place there of each member.

    No member's header is cut, as `zip` makes sure, so the parts are not all of one length.
    """
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        entries = archive.infolist()
        directory_begin = archive.start_dir
    whole = bytearray(written.getvalue())
    cuts, edge = [0], part_bytes
    while edge < directory_begin:
        in_header = next((info.header_offset for info in entries if 0 < edge - info.header_offset < 64), None)
        cuts.append(in_header if in_header is not None else edge)
        edge = cuts[-1] + part_bytes
    place = directory_begin
    for info in entries:
        number = sum(cut <= info.header_offset for cut in cuts) - 1
        struct.pack_into("<H", whole, place + 34, number)
        struct.pack_into("<L", whole, place + 42, info.header_offset - cuts[number])
        name_size, extra_size, comment_size = struct.unpack_from("<3H", whole, place + 28)
        place += 46 + name_size + extra_size + comment_size
    last, size = len(cuts) - 1, place - directory_begin
    num = len(entries)
    end = struct.pack("<4s4H2LH", b"PK\5\6", last, last, num, num, size, directory_begin - cuts[-1], 0)
    if zip_64:
        fields = (44, 45, 45, last, last, num, num, size, directory_begin - cuts[-1])
        end_64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", *fields)
        locator = struct.pack("<4sLQL", b"PK\6\7", last, place - cuts[-1], last + 1)
        saturated = struct.pack("<4s4H2LH", b"PK\5\6", *[0xFFFF] * 4, *[0xFFFFFFFF] * 2, 0)
        end = end_64 + locator + saturated
    whole[place:] = end
    for number, (begin, stop) in enumerate(zip(cuts, [*cuts[1:], len(whole)], strict=True), start=1):
        suffix = "zip" if number == len(cuts) else f"z{number:02d}"
        (folder / f"set.{suffix}").write_bytes(whole[begin:stop])
    return folder / "set.zip"
