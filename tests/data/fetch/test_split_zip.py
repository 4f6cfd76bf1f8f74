"""Zip archives in several parts, as `zip -s` leaves them: read as one, refused where a part is missing."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path

import pytest
from split_archive import split

from desed_task.data.fetch.archives import check_archive, extract
from desed_task.data.fetch.split_zip import is_split, part_paths
from desed_task.errors import FetchError

FILES = {f"set/{number}.bin": random.Random(number).randbytes(40_000 + 977 * number) for number in range(8)}


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("zip_64", [False, True])
def test_an_archive_in_parts_unpacks_as_one(tmp_path: Path, zip_64: bool) -> None:
    archive = split(FILES, tmp_path, zip_64=zip_64)
    assert [path.name for path in part_paths(archive)] == [*(f"set.z0{n}" for n in range(1, 6)), "set.zip"]
    check_archive(archive)
    assert extract(archive, tmp_path / "out") == len(FILES)
    assert tree(tmp_path / "out") == FILES


@pytest.mark.skipif(shutil.which("zip") is None, reason="the program zip is not installed")
def test_an_archive_of_info_zip_unpacks(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name, content in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    subprocess.run(["zip", "-q", "-s", "64k", "-r", "../made.zip", "set"], cwd=source, check=True)
    assert is_split(tmp_path / "made.zip")
    assert extract(tmp_path / "made.zip", tmp_path / "out") == len(FILES)
    assert tree(tmp_path / "out") == FILES


@pytest.mark.parametrize("gone", [["z01"], ["z03"], ["z05"], ["z01", "z02", "z03", "z04", "z05"]])
def test_a_missing_part_is_told(tmp_path: Path, gone: list[str]) -> None:
    archive = split(FILES, tmp_path)
    for suffix in gone:
        (tmp_path / f"set.{suffix}").unlink()
    with pytest.raises(FetchError, match=rf"set\.zip: damaged \(it has 6 parts, {6 - len(gone)} are there\)"):
        check_archive(archive)


def test_damage_in_a_part_is_told(tmp_path: Path) -> None:
    archive = split(FILES, tmp_path)
    spoilt = bytearray((tmp_path / "set.z02").read_bytes())
    spoilt[30_000] ^= 1
    (tmp_path / "set.z02").write_bytes(spoilt)
    with pytest.raises(FetchError, match=r"set\.zip: damaged"):
        extract(archive, tmp_path / "out")
    (tmp_path / "set.zip").write_bytes(b"PK" + bytes(3000))
    with pytest.raises(FetchError, match=r"set\.zip: damaged \(its last part has no end record\)"):
        check_archive(archive)


def test_members_beyond_four_gigabytes_are_found(tmp_path: Path) -> None:
    """The parts before the last one are holes in the file system."""
    archive = split({"set/a.bin": b"a" * 100_000, "set/b.bin": FILES["set/1.bin"]}, tmp_path, part_bytes=10_000_000)
    data = bytearray(archive.read_bytes())
    num_parts, place = 3, data.rfind(b"PK\5\6")
    directory = struct.unpack_from("<L", data, place + 16)[0]
    for _ in range(2):
        struct.pack_into("<H", data, directory + 34, num_parts - 1)
        directory += 46 + sum(struct.unpack_from("<3H", data, directory + 28))
    struct.pack_into("<2H", data, place + 4, num_parts - 1, num_parts - 1)
    archive.write_bytes(data)
    for suffix in ("z01", "z02"):
        with (tmp_path / f"set.{suffix}").open("wb") as stream:
            stream.truncate(3_000_000_000)
    assert extract(archive, tmp_path / "out") == 2
    assert (tmp_path / "out" / "set" / "b.bin").read_bytes() == FILES["set/1.bin"]


def test_an_archive_of_one_part_is_not_split(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        archive.writestr("a", b"a")
    (tmp_path / "other.z01").touch()
    assert not is_split(tmp_path / "one.zip")
    assert extract(tmp_path / "one.zip", tmp_path / "out") == 1
