"""Archives, honest and hostile: what is unpacked, and what never leaves its place."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import pytest

from desed_task.data.fetch.archives import below, check_archive, extract
from desed_task.errors import FetchError

FILES = {"set/audio/a.wav": b"a" * 5000, "set/audio/b.wav": b"b" * 300_000, "set/metadata/t.tsv": b"filename\n"}
Pack = Callable[[Path, Mapping[str, bytes]], Path]


def pack_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def pack_tar(path: Path, files: Mapping[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as packed:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return path


def pack_member(path: Path, info: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as packed:
        packed.addfile(info)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


both = pytest.mark.parametrize("pack", [pack_zip, pack_tar])


@both
def test_every_file_lands_in_its_place(pack: Pack, tmp_path: Path) -> None:
    archive = pack(tmp_path / "set.any", FILES)
    assert extract(archive, tmp_path / "out") == 3
    assert tree(tmp_path / "out") == FILES


def test_a_plain_tar_is_read_too(tmp_path: Path) -> None:
    assert extract(pack_tar(tmp_path / "set.tar", FILES, "w"), tmp_path / "out") == 3


@both
def test_the_folders_around_the_layout_are_left_out(pack: Pack, tmp_path: Path) -> None:
    archive = pack(tmp_path / "set.any", {**FILES, "set/README": b"x", "__MACOSX/x": b"y"})
    assert extract(archive, tmp_path / "out", below("audio", "metadata")) == 3
    assert set(tree(tmp_path / "out")) == {"audio/a.wav", "audio/b.wav", "metadata/t.tsv"}


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("audio/x.wav", "audio/x.wav"),
        ("deep/er/audio/train/x.wav", "audio/train/x.wav"),
        ("set/metadata/audio/x.tsv", "metadata/audio/x.tsv"),
        ("set/audio", None),  # a file of that name
        ("set/README", None),
    ],
)
def test_where_a_member_belongs(path: str, where: str | None) -> None:
    assert below("audio", "metadata")(PurePosixPath(path)) == (PurePosixPath(where) if where else None)


@both
def test_a_half_unpacked_tree_is_completed_and_what_is_right_is_left_alone(pack: Pack, tmp_path: Path) -> None:
    archive, out = pack(tmp_path / "set.any", FILES), tmp_path / "out"
    extract(archive, out)
    (out / "set/metadata/t.tsv").unlink()
    (out / "set/audio/b.wav").write_bytes(b"b" * 1000)  # cut short
    (out / "set/audio/c.wav").write_bytes(b"mine")
    os.utime(out / "set/audio/a.wav", (1, 1))
    extract(archive, out)
    assert tree(out) == {**FILES, "set/audio/c.wav": b"mine"}
    assert (out / "set/audio/a.wav").stat().st_mtime == 1


@both
def test_a_file_of_the_right_length_and_other_content_is_replaced(pack: Pack, tmp_path: Path) -> None:
    archive, out = pack(tmp_path / "set.any", FILES), tmp_path / "out"
    extract(archive, out)
    (out / "set/audio/b.wav").write_bytes(b"b" * 299_999 + b"?")
    extract(archive, out)
    assert tree(out) == FILES


HOSTILE = {
    "absolute": "/evil.wav",
    "upward": "../evil.wav",
    "upward later": "audio/../../evil.wav",
    "backslash": "..\\evil.wav",
    "drive": "C:/evil.wav",
}


@both
@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_names_that_lead_outside_are_refused(name: str, pack: Pack, tmp_path: Path) -> None:
    archive, out = pack(tmp_path / "set.any", {name: b"evil"}), tmp_path / "a" / "out"
    with pytest.raises(FetchError, match=r"would be written outside|has a name that is no plain path"):
        extract(archive, out)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["set.any"]


def test_a_zip_is_looked_through_before_its_first_byte_is_written(tmp_path: Path) -> None:
    archive = pack_zip(tmp_path / "set.zip", {**FILES, "../evil.wav": b"evil"})
    with pytest.raises(FetchError, match=r"'\.\./evil\.wav' would be written outside"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    info = tarfile.TarInfo("audio/link.wav")
    info.type, info.linkname = kind, "../../etc/passwd"
    with pytest.raises(FetchError, match=r"'audio/link\.wav' is a link or a device"):
        extract(pack_member(tmp_path / "set.tar", info), tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("audio/link.wav")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        packed.writestr(info, "/etc/passwd")
    with pytest.raises(FetchError, match="is a link or a device"):
        extract(tmp_path / "set.zip", tmp_path / "out")


@both
def test_more_than_is_allowed_is_refused(pack: Pack, tmp_path: Path) -> None:
    archive = pack(tmp_path / "set.any", {"a.wav": bytes(60_000), "b.wav": bytes(60_000)})
    with pytest.raises(FetchError, match=r"unpacks to more than 0\.0001 GB"):
        extract(archive, tmp_path / "out", most_bytes=100_000)
    assert not (tmp_path / "out" / "b.wav").exists()


@both
def test_two_members_of_one_name_are_refused(pack: Pack, tmp_path: Path) -> None:
    archive = pack(tmp_path / "set.any", {"x/audio/a.wav": b"1", "y/audio/a.wav": b"2"})
    with pytest.raises(FetchError, match=r"are both audio/a\.wav"):
        extract(archive, tmp_path / "out", below("audio"))


def test_a_disk_without_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 100})()
    monkeypatch.setattr("desed_task.data.fetch.archives.shutil.disk_usage", lambda path: usage)
    with pytest.raises(FetchError, match=r"needs more; make room"):
        extract(pack_zip(tmp_path / "set.zip", FILES), tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "looks_like"),
    [(b"<!DOCTYPE html><html>", "it is a web page"), (b"", "it is empty"), (b"RIFF1234WAVE", "it begins with b'RIFF")],
)
def test_what_is_no_archive_is_said_to_be_what_it_is(content: bytes, looks_like: str, tmp_path: Path) -> None:
    archive = tmp_path / "dcase_synth.zip"
    archive.write_bytes(content)
    with pytest.raises(FetchError, match=f"neither zip nor tar .{looks_like}"):
        check_archive(archive)


def test_a_zip_cut_short_is_no_archive(tmp_path: Path) -> None:
    archive = pack_zip(tmp_path / "set.zip", FILES)
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(FetchError, match="neither zip nor tar"):
        check_archive(archive)


def test_a_tar_cut_short_is_damaged(tmp_path: Path) -> None:
    archive = pack_tar(tmp_path / "set.tar.gz", {"a.wav": os.urandom(50_000), "b.wav": os.urandom(50_000)})
    archive.write_bytes(archive.read_bytes()[:70_000])
    check_archive(archive)
    with pytest.raises(FetchError, match=r"damaged .*; delete it and fetch it again"):
        extract(archive, tmp_path / "out")
    assert set(tree(tmp_path / "out")) <= {"a.wav", "b.wav.partial"}


def test_a_flipped_byte_is_damage(tmp_path: Path) -> None:
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.wav", b"a" * 1000)
    archive.write_bytes(archive.read_bytes().replace(b"a" * 500, b"a" * 499 + b"b", 1))
    with pytest.raises(FetchError, match=r"damaged .*CRC"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out" / "a.wav").exists()


def test_an_archive_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"set\.zip: not there"):
        check_archive(tmp_path / "set.zip")
