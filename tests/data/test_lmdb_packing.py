"""Packing LMDBs: the published layout, the same records however often it is killed, and nothing of other recordings."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import soundfile
from lmdb_files import RATE, flac_of, noise, read_all, read_published, write_mixtures, write_published, write_values

from desed_task.audio.records import close_lmdb
from desed_task.data.corpora.lmdb import LmdbOptions, read_lmdb
from desed_task.data.lmdb_items import Item, items_of_folders
from desed_task.data.lmdb_packing import LmdbPacking, pack_lmdb
from desed_task.data.lmdb_verifying import verify_lmdb
from desed_task.errors import DesedTaskError

NUM = 30


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mixtures(tmp_path_factory.mktemp("mixtures") / "train", NUM)


def packing(path: Path, **options: Any) -> LmdbPacking:
    return LmdbPacking(path, **{"map_size": 1 << 20, "write_frequency": 4, "num_threads": 1, **options})


def items_of(*folders: Path) -> list[Item]:
    return items_of_folders(folders, ",")


def records_of(path: Path) -> dict[bytes, bytes]:
    """Keys of records and their bytes."""
    close_lmdb(path)
    return {key: value for key, value in read_all(path).items() if key.isdigit()}


def test_the_layout_is_the_published_one(mixtures: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.lmdb"
    assert pack_lmdb(items_of(mixtures), packing(path))
    values = read_all(path)
    assert values[b"__len__"] == msgpack.packb(NUM)
    assert values[b"__keys__"] == msgpack.packb([str(number).encode() for number in range(NUM)])
    for number in range(NUM):
        flac = (mixtures / f"mix_{number:03d}.flac").read_bytes()
        label = ["hum", "hum,hiss,hum"][number % 2]
        assert values[str(number).encode()] == msgpack.packb((flac, label))
    assert [file.name for file in tmp_path.iterdir()] == ["train.lmdb"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_was_packed_is_read_with_names_events_and_durations(mixtures: Path, tmp_path: Path) -> None:
    pack_lmdb(items_of(mixtures), packing(tmp_path / "a.lmdb"))
    clips = read_lmdb(LmdbOptions(name="lmdb", path=tmp_path / "a.lmdb"), "strong", ["hum", "hiss"])
    assert [clip.audio_id for clip in clips.clips] == [f"mix_{number:03d}" for number in range(NUM)]
    assert clips.clips[3].duration == 4_003 / RATE
    times = [(event.onset, event.offset, event.event_label) for event in clips.events["mix_001"]]
    assert times == [(0.05, 0.1, "hum"), (0.1, 0.2, "hiss"), (0.15, 0.2, "hum")]
    assert clips.tags["mix_001"] == ("hiss", "hum")


def test_a_folder_that_is_there_becomes_the_lmdb(mixtures: Path, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    pack_lmdb(items_of(mixtures)[:3], packing(tmp_path / "train"))
    assert [file.name for file in (tmp_path / "train").iterdir()] == ["data.mdb"]
    assert len(read_published(tmp_path / "train")) == 3
    assert verify_lmdb(tmp_path / "train").num_records == 3


def test_the_map_grows_by_itself(mixtures: Path, tmp_path: Path) -> None:
    items = items_of(mixtures)
    pack_lmdb(items, packing(tmp_path / "small.lmdb", map_size=20_000))
    pack_lmdb(items, packing(tmp_path / "large.lmdb", map_size=1 << 30, write_frequency=1000))
    assert records_of(tmp_path / "small.lmdb") == records_of(tmp_path / "large.lmdb")


def test_folders_come_one_after_another_and_names_stay_apart(mixtures: Path, tmp_path: Path) -> None:
    other = write_mixtures(tmp_path / "train_p2", 2)
    items = items_of(mixtures, other)
    assert [item.audio_id for item in items[:3]] == ["train_mix_000", "train_mix_001", "mix_002"]
    assert [item.audio_id for item in items[-2:]] == ["train_p2_mix_000", "train_p2_mix_001"]
    with pytest.raises(DesedTaskError, match="2 mixtures are called so; name each folder once"):
        items_of(other, other)


def test_recordings_that_are_no_flac_become_flac_with_the_same_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(0, 3_000), 22_050, subtype="PCM_16")
    (tmp_path / "a.txt").write_text("0\t0.1\thum\n")
    pack_lmdb(items_of(tmp_path), packing(tmp_path / "out" / "a.lmdb"))
    ((flac, label),) = read_published(tmp_path / "out" / "a.lmdb")
    (tmp_path / "b.flac").write_bytes(flac)
    samples, rate = soundfile.read(tmp_path / "b.flac", dtype="int16")
    assert (label, rate) == ("hum", 22_050)
    assert np.array_equal(samples, noise(0, 3_000))


def test_short_recordings_are_repeated_with_their_events_where_that_is_asked_for(tmp_path: Path) -> None:
    # seconds   0    0.1   0.2   0.25
    # events    |-a-|     |-a-|     and again from 0.1 and 0.2, where the last is cut
    (tmp_path / "short.flac").write_bytes(flac_of(noise(0, 1_600)))
    (tmp_path / "short.txt").write_text("0.02\t0.08\ta\n")
    items = items_of(tmp_path)
    pack_lmdb(items, packing(tmp_path / "a.lmdb", min_seconds=0.25))
    clips = read_lmdb(LmdbOptions(name="lmdb", path=tmp_path / "a.lmdb"), "strong")
    assert clips.clips[0].duration == 0.25
    times = [(event.onset, event.offset) for event in clips.events["short"]]
    assert np.allclose(times, [(0.02, 0.08), (0.12, 0.18), (0.22, 0.25)])
    assert not pack_lmdb(items, packing(tmp_path / "a.lmdb", min_seconds=0.25))


PACKER = """
import sys, time
from pathlib import Path
from desed_task.data import lmdb_packing
from desed_task.data.lmdb_items import items_of_folders
make, delay = lmdb_packing._make, float(sys.argv[3])
def slowly(item, packing):
    time.sleep(delay)
    return make(item, packing)
lmdb_packing._make = slowly
packing = lmdb_packing.LmdbPacking(Path(sys.argv[2]), 20_000, 4, num_threads=1)
print("begun", flush=True)
print(lmdb_packing.pack_lmdb(items_of_folders([Path(sys.argv[1])], ","), packing))
"""


def start_packer(mixtures: Path, path: Path, project: Path, delay: float = 0.02) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PACKER, str(mixtures), str(path), str(delay)]
    return subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(found: Callable[[], bool], packer: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline and packer.poll() is None, packer.communicate()
        time.sleep(0.002)


def test_a_packing_killed_at_any_moment_ends_with_the_very_records(
    mixtures: Path, tmp_path: Path, project: Path
) -> None:
    pack_lmdb(items_of(mixtures), packing(tmp_path / "alone.lmdb"))
    path, partial, rng = tmp_path / "killed.lmdb", tmp_path / "killed.lmdb.partial", random.Random(8)
    kills, packed_before = 0, 0
    while kills < 3 or not packed_before:
        packer = start_packer(mixtures, path, project, delay=0.05)
        assert packer.stdout is not None
        assert packer.stdout.readline() == "begun\n"
        time.sleep(rng.uniform(0.05, 0.4))  # it takes 1.5 s
        packer.send_signal(signal.SIGKILL)
        packer.communicate(timeout=30)
        assert packer.returncode == -signal.SIGKILL
        assert not path.exists()
        if partial.exists():
            with pytest.raises(DesedTaskError, match="unfinished"):
                verify_lmdb(path)
            packed_before = sum(key.isdigit() for key in read_all(partial))
        kills += 1
    assert packed_before < NUM
    assert packed_before % 4 == 0
    assert pack_lmdb(items_of(mixtures), packing(path))
    assert records_of(path) == records_of(tmp_path / "alone.lmdb")
    assert len(read_published(path)) == NUM
    assert verify_lmdb(path).num_records == NUM


def test_a_packing_killed_between_its_last_transaction_and_its_name_is_completed(
    mixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.lmdb"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pack_lmdb(items_of(mixtures), packing(path))
    assert pack_lmdb(items_of(mixtures), packing(path))
    assert verify_lmdb(path).num_records == NUM


def test_a_second_packer_waits_and_finds_the_file(mixtures: Path, tmp_path: Path, project: Path) -> None:
    path = tmp_path / "a.lmdb"
    first = start_packer(mixtures, path, project, delay=0.1)
    wait_until(lambda: path.with_name("a.lmdb.partial").exists(), first)
    assert not pack_lmdb(items_of(mixtures), packing(path))
    assert first.communicate(timeout=30)[0] == "begun\nTrue\n"
    assert verify_lmdb(path).num_records == NUM


def interrupted(mixtures: Path, path: Path, monkeypatch: pytest.MonkeyPatch, after: int = 10) -> None:
    """A packing that ends after some recordings, of which it finished whole transactions."""
    from desed_task.data import lmdb_packing

    made, make = [], lmdb_packing._make

    def breaking(item: Item, options: LmdbPacking) -> Any:
        made.append(item)
        if len(made) > after:
            raise KeyboardInterrupt
        return make(item, options)

    with monkeypatch.context() as patch:
        patch.setattr(lmdb_packing, "_make", breaking)
        with pytest.raises(KeyboardInterrupt):
            pack_lmdb(items_of(mixtures), packing(path))


def change_audio(folder: Path) -> None:
    (folder / "mix_001.flac").write_bytes(flac_of(noise(99, 4_001)))


def change_labels(folder: Path) -> None:
    (folder / "mix_001.txt").write_text("0\t0.1\thiss\n")


def change_times(folder: Path) -> None:
    (folder / "mix_000.txt").write_text("0.06\t0.1\thum\n")


def add_before(folder: Path) -> None:
    (folder / "mix_000b.flac").write_bytes(flac_of(noise(99, 4_001)))
    (folder / "mix_000b.txt").write_text("0\t0.1\thiss\n")


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "another recording": (change_audio, r"mix_001\.flac: changed since it was packed"),
    "other labels": (change_labels, r"mix_001\.flac: its labels changed since it was packed"),
    "other times": (change_times, r"mix_000\.flac: its labels changed since it was packed"),
    "one more, not at the end": (add_before, r"holds train/mix_001\.flac where now is train/mix_000b\.flac"),
}


@pytest.mark.parametrize(("change", "sentence"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("finished", [True, False])
def test_recordings_that_changed_since_are_refused_and_packed_anew_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], sentence: str, finished: bool
) -> None:
    mixtures, path = write_mixtures(tmp_path / "train", 12), tmp_path / "a.lmdb"
    if finished:
        pack_lmdb(items_of(mixtures), packing(path))
    else:
        interrupted(mixtures, path, monkeypatch)
    change(mixtures)
    with pytest.raises(DesedTaskError, match=rf"{sentence}; pack anew with --overwrite"):
        pack_lmdb(items_of(mixtures), packing(path))
    assert pack_lmdb(items_of(mixtures), packing(path, overwrite=True))
    pack_lmdb(items_of(mixtures), packing(tmp_path / "b.lmdb"))
    assert records_of(path) == records_of(tmp_path / "b.lmdb")


def test_a_recording_that_was_only_touched_is_the_same(mixtures: Path, tmp_path: Path) -> None:
    items = items_of(mixtures)[:3]
    pack_lmdb(items, packing(tmp_path / "a.lmdb"))
    os.utime(items[1].path, ns=(1, 1))
    assert not pack_lmdb(items, packing(tmp_path / "a.lmdb"))


def test_other_settings_are_refused(mixtures: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    pack_lmdb(items_of(mixtures), packing(path))
    with pytest.raises(DesedTaskError, match=r"was packed with sample_rate None, not 8000"):
        pack_lmdb(items_of(mixtures), packing(path, sample_rate=8_000))
    with pytest.raises(DesedTaskError, match=r"holds 30 recordings, of which 29 are there"):
        pack_lmdb(items_of(mixtures)[:-1], packing(path))
    longer = [*items_of(mixtures), replace_id(items_of(mixtures)[0], "more")]
    with pytest.raises(DesedTaskError, match=r"holds 30 of 31 recordings"):
        pack_lmdb(longer, packing(path))


def replace_id(item: Item, audio_id: str) -> Item:
    return item._replace(audio_id=audio_id)


def test_a_packing_that_is_overwriting_goes_on_too(
    mixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(mixtures, tmp_path / "a.lmdb", monkeypatch, after=10)
    with caplog.at_level("INFO"):
        pack_lmdb(items_of(mixtures), packing(tmp_path / "a.lmdb", overwrite=True))
    assert "8 recordings were packed before; going on" in caplog.text


def test_an_lmdb_of_somebody_else_is_left_alone(mixtures: Path, tmp_path: Path) -> None:
    path = write_published(tmp_path / "a.lmdb", [(flac_of(noise(0, 500)), "hum")])
    with pytest.raises(DesedTaskError, match="was not packed here; name another --lmdb_path"):
        pack_lmdb(items_of(mixtures), packing(path))
    close_lmdb(path)
    assert len(read_published(path)) == 1


def test_what_a_crash_of_the_machine_left_is_packed_anew(mixtures: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    pack_lmdb(items_of(mixtures), packing(path))
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"x" * 9_000):
        path.unlink()
        path.with_name("a.lmdb.partial").write_bytes(content)
        assert pack_lmdb(items_of(mixtures), packing(path))
        assert verify_lmdb(path).num_records == NUM


def test_a_full_disk_is_one_sentence_and_what_is_packed_is_kept(mixtures: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, before[1]))
    try:
        with pytest.raises(DesedTaskError, match=r"a\.lmdb.*cannot be written .*make room") as refused:
            pack_lmdb(items_of(mixtures), packing(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "\n" not in str(refused.value)
    assert any(key.isdigit() for key in read_all(path.with_name("a.lmdb.partial")))
    pack_lmdb(items_of(mixtures), packing(path))
    pack_lmdb(items_of(mixtures), packing(tmp_path / "b.lmdb"))
    assert records_of(path) == records_of(tmp_path / "b.lmdb")


def test_a_recording_that_does_not_decode_ends_the_packing(tmp_path: Path) -> None:
    mixtures = write_mixtures(tmp_path / "train", 6)
    content = (mixtures / "mix_004.flac").read_bytes()
    (mixtures / "mix_004.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(DesedTaskError, match=r"mix_004\.flac"):
        pack_lmdb(items_of(mixtures), packing(tmp_path / "a.lmdb"))
    assert not (tmp_path / "a.lmdb").exists()


BROKEN: dict[str, tuple[dict[bytes, Any], str]] = {
    "another label": ({b"2": msgpack.packb((flac_of(noise(2, 4_002)), "hiss"))}, "a.lmdb/2: not as it was packed"),
    "one is not there": ({b"__keys__": msgpack.packb([b"0", b"1", b"2", b"9"])}, "a.lmdb/9: listed in __keys__ and"),
    "one in another's place": ({b"__keys__": msgpack.packb([b"0", b"1", b"3", b"2"])}, "2 of 4 records are damaged"),
    "one is left out": (
        {b"__keys__": msgpack.packb([b"0", b"1", b"2"]), b"__len__": msgpack.packb(3)},
        "3 records, of which its index knows 4",
    ),
    "other rows": ({b"__part__0": msgpack.packb([])}, "its index is damaged"),
}


@pytest.mark.parametrize(("further", "sentence"), BROKEN.values(), ids=BROKEN)
def test_verify_names_what_is_not_as_it_was(tmp_path: Path, further: dict[bytes, Any], sentence: str) -> None:
    path = tmp_path / "a.lmdb"
    pack_lmdb(items_of(write_mixtures(tmp_path / "train", 4)), packing(path))
    values = read_all(path)
    path.unlink()
    write_values(path, values, further)
    with pytest.raises(DesedTaskError, match=sentence):
        verify_lmdb(path)


def test_verify_reads_files_of_somebody_else_without_checksums(tmp_path: Path) -> None:
    whole = flac_of(noise(0, 16_000))
    path = write_published(tmp_path / "a.lmdb", [(whole, "hum"), (whole, "hiss")])
    found = verify_lmdb(path)
    assert (found.num_records, found.hours * 3600, found.has_checksums) == (2, 2.0, False)
    path = write_published(tmp_path / "b.lmdb", [(whole, "hum"), (whole[:20_000], "hiss")])
    with pytest.raises(DesedTaskError, match=r"1 of 2 records are damaged, the first .*b\.lmdb/1"):
        verify_lmdb(path)


def test_settings_are_those_that_decide_the_records(tmp_path: Path) -> None:
    options = packing(tmp_path / "a.lmdb", described={"delimiter": ";"})
    assert options.settings == replace(options, map_size=7, write_frequency=9, num_threads=3).settings
    assert options.settings == {"sample_rate": None, "min_seconds": None, "delimiter": ";"}
