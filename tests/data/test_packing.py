"""Packing that is killed goes on where it was and ends with the same bytes; two packers do not disturb one another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from filelock import FileLock

from desed_task.clips import Clip, ClipSet
from desed_task.data import packing
from desed_task.data.packing import lock_path
from desed_task.data.store import is_packed, open_store, remove_old_stores
from desed_task.data.store_index import index_path_of, sources_of
from desed_task.errors import CorpusError

NUM_CLIPS = 40

# Packs the recordings of a folder in the number of threads given; the delay makes time to kill it in.
PACKER = """
import logging, sys, time
from pathlib import Path
from desed_task.data import packing
from desed_task.data.store import open_store
sys.path.insert(0, "tests/data")
from test_packing import recordings

logging.basicConfig(level=logging.INFO, format="%(message)s")
real, delay = packing.read_waveform, float(sys.argv[3])
def slowly(path, sample_rate):
    time.sleep(delay)
    return real(path, sample_rate)
packing.read_waveform = slowly
print(len(open_store(recordings(Path(sys.argv[1])), Path(sys.argv[2]), 16000, num_threads=2)), flush=True)
"""


def recordings(folder: Path) -> ClipSet:
    """Every recording of a folder."""
    return ClipSet("noise", tuple(Clip(path.stem, path, 1.0) for path in sorted(folder.glob("*.wav"))), "none")


@pytest.fixture
def clips(tmp_path: Path) -> ClipSet:
    """Forty recordings of 0.1 s to 0.5 s at 22.05 kHz, which are resampled."""
    folder = tmp_path / "audio"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(NUM_CLIPS):
        samples = rng.integers(-20000, 20000, 2205 + 220 * number, dtype=np.int16)
        soundfile.write(folder / f"{number:02d}.wav", samples, 22050, subtype="PCM_16")
    return recordings(folder)


def start_packer(clips: ClipSet, store: Path, project: Path, delay: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PACKER, str(clips.clips[0].path.parent), str(store), str(delay)]
    return subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_clips(store: Path, count: int, packer: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and packer.poll() is None:
        journals = list(store.glob("*.journal.partial")) if store.is_dir() else []
        if journals and journals[0].read_text().count("\n") >= count:
            return
        time.sleep(0.01)
    raise AssertionError(f"the packer did not get to {count} clips: {packer.poll()}")


def store_bytes(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(store.iterdir()) if not path.name.startswith(".")}


def test_a_killed_packing_goes_on_and_ends_with_the_same_bytes(clips: ClipSet, tmp_path: Path, project: Path) -> None:
    open_store(clips, tmp_path / "uninterrupted", 16000)
    store = tmp_path / "store"
    for count in (3, 17):
        packer = start_packer(clips, store, project, delay=0.05)
        wait_for_clips(store, count, packer)
        packer.send_signal(signal.SIGKILL)
        packer.communicate(timeout=30)
        assert packer.returncode == -signal.SIGKILL
        assert not is_packed(clips, store, 16000)
    (kept,) = (len(path.read_text().splitlines()) for path in store.glob("*.journal.partial"))
    assert 17 <= kept < NUM_CLIPS
    packer = start_packer(clips, store, project, delay=0.0)
    out, err = packer.communicate(timeout=60)
    assert (packer.returncode, out) == (0, f"{NUM_CLIPS}\n")
    assert f"{kept} clips were packed before; going on" in err
    assert store_bytes(store) == store_bytes(tmp_path / "uninterrupted")
    assert len(store_bytes(store)) == 2


def test_samples_that_do_not_have_their_hash_are_packed_again(
    clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "uninterrupted"
    open_store(clips, whole, 16000)
    store = tmp_path / "store"
    interrupt_after(10, clips, store, monkeypatch)
    (samples,) = store.glob("*.int16.partial")
    content = bytearray(samples.read_bytes())
    content[5] ^= 1
    samples.write_bytes(content)
    (journal,) = store.glob("*.journal.partial")
    journal.write_text(journal.read_text() + "17 cut in the mid")
    open_store(clips, store, 16000)
    assert store_bytes(store) == store_bytes(whole)


def test_what_was_killed_between_its_last_renames_is_finished(clips: ClipSet, tmp_path: Path) -> None:
    open_store(clips, tmp_path / "whole", 16000)
    store = tmp_path / "store"
    open_store(clips, store, 16000)
    (index,) = store.glob("*.json")
    index.unlink()
    open_store(clips, store, 16000)
    assert store_bytes(store) == store_bytes(tmp_path / "whole")


def test_ctrl_c_keeps_what_was_packed(clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_after(10, clips, tmp_path / "store", monkeypatch)
    assert not is_packed(clips, tmp_path / "store", 16000)
    (journal,) = (tmp_path / "store").glob("*.journal.partial")
    assert len(journal.read_text().splitlines()) == 10
    assert len(open_store(clips, tmp_path / "store", 16000)) == NUM_CLIPS


def test_an_abandoned_packing_of_recordings_that_changed_is_cleaned_up(
    clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    interrupt_after(10, clips, store, monkeypatch)
    assert remove_old_stores(clips, store, 16000) == []  # it can still be completed
    os.utime(clips.clips[0].path, ns=(1, 1))
    assert len(remove_old_stores(clips, store, 16000)) == 2
    assert list(store.iterdir()) == []


def test_the_second_of_two_packers_waits_and_finds_the_store(clips: ClipSet, tmp_path: Path, project: Path) -> None:
    open_store(clips, tmp_path / "alone", 16000)
    store = tmp_path / "store"
    first = start_packer(clips, store, project, delay=0.1)
    wait_for_clips(store, 1, first)
    second = start_packer(clips, store, project, delay=0.1)
    results = [packer.communicate(timeout=60) for packer in (first, second)]
    assert [packer.returncode for packer in (first, second)] == [0, 0]
    assert [out for out, _ in results] == [f"{NUM_CLIPS}\n"] * 2
    assert "noise: another process packs it; waiting for it" in results[1][1]
    assert "another process" not in results[0][1]
    assert store_bytes(store) == store_bytes(tmp_path / "alone")


def test_a_store_that_is_being_packed_is_not_cleaned_up(
    clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    interrupt_after(3, clips, store, monkeypatch)
    index = index_path_of(clips.name, sources_of(clips), store, 16000)
    os.utime(clips.clips[0].path, ns=(1, 1))
    with FileLock(lock_path(index)):
        assert remove_old_stores(clips, store, 16000) == []
    assert len(remove_old_stores(clips, store, 16000)) == 2


def test_recordings_that_change_while_they_are_packed_make_no_store(
    clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = packing.read_waveform

    def touching(path: Path, sample_rate: int) -> np.ndarray:
        if path.name == "20.wav":
            os.utime(clips.clips[0].path, ns=(1, 1))
        return real(path, sample_rate)

    monkeypatch.setattr(packing, "read_waveform", touching)
    with pytest.raises(CorpusError, match="noise: its recordings changed while they were packed; start again"):
        open_store(clips, tmp_path / "store", 16000)
    assert store_bytes(tmp_path / "store") == {}


def interrupt_after(count: int, clips: ClipSet, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pack until Ctrl-C after `count` clips."""
    real = packing.read_waveform

    def until(path: Path, sample_rate: int) -> np.ndarray:
        if path == clips.clips[count].path:
            raise KeyboardInterrupt
        return real(path, sample_rate)

    with monkeypatch.context() as patched:
        patched.setattr(packing, "read_waveform", until)
        with pytest.raises(KeyboardInterrupt):
            open_store(clips, store, 16000)
