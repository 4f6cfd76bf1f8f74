"""Recordings in an LMDB: found, read and refused, by threads and by children of a fork or a spawn at once."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgpack
import numpy as np
import pytest
from lmdb_files import RATE, flac_of, noise, write_published

from desed_task.audio.reading import check_header, read_waveform
from desed_task.audio.record_layout import FlacInfo, build_record, parse_flac, parse_record
from desed_task.audio.records import (
    close_lmdb,
    is_recording,
    open_lmdb,
    open_recording,
    read_record,
    status_of,
)
from desed_task.errors import AudioError

NUM_RECORDS = 20


def flac(number: int) -> bytes:
    return flac_of(noise(number, 1_000 + number))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_published(tmp_path / "clips.lmdb", [(flac(number), "hum") for number in range(NUM_RECORDS)])


def test_a_record_is_read_as_a_file_is(file: Path) -> None:
    path = file / "7"
    assert read_record(path) == open_recording(path).read() == flac(7)
    assert np.array_equal(read_waveform(path, RATE) * 32768, noise(7, 1_007))
    assert check_header(path).duration == 1_007 / RATE
    assert is_recording(path)
    assert status_of(path).size > len(flac(7))
    assert status_of(path).mtime_ns == file.stat().st_mtime_ns


def test_files_are_read_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(flac(1))
    assert open_recording(path).read() == flac(1)
    assert status_of(path) == (len(flac(1)), path.stat().st_mtime_ns)
    assert is_recording(path)
    assert not is_recording(tmp_path)
    assert not is_recording(tmp_path / "b.flac")
    assert not is_recording(path / "17")


def test_an_lmdb_may_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    write_published(tmp_path / "clips", [(flac(0), "hum")])
    assert read_record(tmp_path / "clips" / "data.mdb" / "0") == flac(0)


def test_an_lmdb_that_was_replaced_is_read_anew_when_it_is_asked_for_anew(file: Path) -> None:
    assert read_record(file / "3") == flac(3)
    file.unlink()
    write_published(file.with_name("other"), [(flac(9), "hum")] * 5).rename(file)
    assert read_record(file / "3") == flac(3)
    open_lmdb(file, anew=True)
    assert read_record(file / "3") == flac(9)
    close_lmdb(file)
    assert read_record(file / "4") == flac(9)


def test_the_current_folder_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(("one", "other")):
        (tmp_path / name).mkdir()
        write_published(tmp_path / name / "clips.lmdb", [(flac(number), "hum")])
        monkeypatch.chdir(tmp_path / name)
        assert read_record(Path("clips.lmdb") / "0") == flac(number)


def test_threads_read_at_once(file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: read_record(file / str(number)), list(range(NUM_RECORDS)) * 20))
    assert found == [flac(number) for number in range(NUM_RECORDS)] * 20


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_read_what_their_parent_has_open(file: Path, method: str) -> None:
    assert read_record(file / "0") == flac(0)
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        found = pool.map(read_record, [file / str(number) for number in range(NUM_RECORDS)], chunksize=1)
    assert found == [flac(number) for number in range(NUM_RECORDS)]
    assert read_record(file / "1") == flac(1)


@pytest.mark.parametrize("label", ["a,b,a", "", 7])
@pytest.mark.parametrize("fold", [None, 3])
@pytest.mark.parametrize("size", [0, 5, 31, 32, 200, 300, 70_000])
def test_a_record_is_what_msgpack_makes_of_its_parts(label: str | int, fold: int | None, size: int) -> None:
    audio = b"x" * size
    plain = msgpack.packb((audio, label) if fold is None else (audio, label, fold))
    assert build_record(audio, label, fold) == plain
    assert parse_record(memoryview(plain)) == (audio, label, fold)


def test_records_of_older_msgpack_and_of_numpy_are_read() -> None:
    """Before 1.0 bytes were written as text; msgpack_numpy writes a number as a map."""
    assert parse_record(memoryview(msgpack.packb((b"abc", "x"), use_bin_type=False))) == (b"abc", "x", None)
    number = {b"nd": False, b"type": "<i8", b"data": np.int64(4).tobytes()}
    assert parse_record(memoryview(msgpack.packb((b"abc", number, number)))) == (b"abc", 4, 4)


WHOLE = msgpack.packb((b"x" * 300, "hum"))
BAD_RECORDS = {
    "empty": b"",
    "no array": msgpack.packb("hum"),
    "one part": msgpack.packb((b"x",)),
    "four parts": msgpack.packb((b"x", "hum", 1, 2)),
    "a number for the recording": msgpack.packb((1, "hum")),
    "cut in its length": WHOLE[:3],
    "cut in its recording": WHOLE[:100],
    "without its label": WHOLE[:304],
    "cut in its label": WHOLE[:-1],
    "something behind it": WHOLE + b"\x01",
    "a list for the label": msgpack.packb((b"x", ["hum"])),
    "a fraction for the label": msgpack.packb((b"x", 0.5)),
    "text that is no text": msgpack.packb((b"x", b"\xff\xfe")),
    "a word for the fold": msgpack.packb((b"x", 1, "two")),
    "a broken number of numpy": msgpack.packb((b"x", {b"nd": False, b"type": "<i8", b"data": b"1"})),
}


@pytest.mark.parametrize("value", BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_what_is_no_record_is_refused(tmp_path: Path, value: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_record(memoryview(value))
    path = write_published(tmp_path / "bad.lmdb", [(flac(0), "hum")], {b"0": value}) if value else None
    if path is not None:
        with pytest.raises(AudioError, match=r"bad\.lmdb/0: not a record of a recording and its label"):
            read_record(path / "0")


def test_flac_says_what_it_is() -> None:
    assert parse_flac(flac_of(noise(0, 1234), 22_050)) == FlacInfo(22_050, 1, 16, 1234)
    stereo = flac_of(np.zeros((77, 2)), 44_100, "PCM_24")
    assert parse_flac(memoryview(stereo)) == FlacInfo(44_100, 2, 24, 77)
    assert parse_flac(b"RIFF" + bytes(100)) is None
    assert parse_flac(flac(0)[:20]) is None


def test_what_is_no_lmdb_is_one_sentence(tmp_path: Path, file: Path) -> None:
    for name, content in (("empty", b""), ("text", b"onset\n" * 4_000), ("wav", b"RIFF")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AudioError, match=rf"{name}: .*(empty|not an LMDB)"):
            read_record(tmp_path / name / "0")
        assert not is_recording(tmp_path / name / "0")
    (tmp_path / "cut").write_bytes(file.read_bytes()[:20_000])
    with pytest.raises(AudioError, match=r"cut: cut off, 20000 of \d+ bytes"):
        read_record(tmp_path / "cut" / "0")
    with pytest.raises(AudioError, match=r"clips\.lmdb/99: no such record"):
        read_record(file / "99")
    with pytest.raises(FileNotFoundError):
        status_of(file / "99")


WITHOUT_LMDB = """
import sys
sys.modules["lmdb"] = None
from pathlib import Path
from desed_task.audio.reading import read_waveform
from desed_task.errors import AudioError
folder = Path(sys.argv[1])
print(len(read_waveform(folder / "a.flac", 16000)))
try:
    read_waveform(folder / "clips.lmdb" / "0", 16000)
except AudioError as error:
    print(error)
"""


def test_without_the_package_files_are_read_and_an_lmdb_is_one_sentence(file: Path, project: Path) -> None:
    (file.parent / "a.flac").write_bytes(flac(1))
    command = [sys.executable, "-c", WITHOUT_LMDB, str(file.parent)]
    lines = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] == "1001"
    assert "needs the packages lmdb and msgpack" in lines[1]
