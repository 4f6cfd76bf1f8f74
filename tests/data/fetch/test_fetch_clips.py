"""The clips of one part, brought by a program that fails in every way the real one does."""

from __future__ import annotations

import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Programs

from desed_task.audio.reading import check_header, read_waveform, write_waveform
from desed_task.data.fetch.clips import ClipPart, fetch_clips
from desed_task.data.fetch.downloaders import DesedPackage, YtDlp, find_downloader, find_ffmpeg
from desed_task.data.fetch.missing import Missing
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.data.fetch.youtube import ClipDownloader, ClipFailureError, parse_clip
from desed_task.errors import FetchError


def video(letter: str) -> str:
    return letter * 11


def name(letter: str, seconds: int = 2) -> str:
    return f"Y{video(letter)}_0.000_{seconds}.000.wav"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audio" / "train" / "weak"


def part_of(folder: Path, letters: str) -> ClipPart:
    clips = [parse_clip(name(letter), Path("weak.tsv")) for letter in letters]
    return ClipPart("weak", clips, folder, folder.parents[2] / "missing_files_weak.tsv")


def fetch(
    programs: Programs, part: ClipPart, policy: RetryPolicy, num_jobs: int = 2, retry_missing: bool = False
) -> dict[str, Missing]:
    return fetch_clips(part, lambda: programs.downloader(policy.clip_timeout), num_jobs, policy, retry_missing)


def held(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_clip_arrives_under_its_name(programs: Programs, folder: Path, impatient: RetryPolicy) -> None:
    assert fetch(programs, part_of(folder, "abc"), impatient) == {}
    assert held(folder) == [name(letter) for letter in "abc"]
    assert all(check_header(folder / clip).duration == 2.0 for clip in held(folder))
    assert sorted(programs.calls) == [video(letter) for letter in "abc"]


def test_what_is_there_is_not_asked_for_again(programs: Programs, folder: Path, impatient: RetryPolicy) -> None:
    fetch(programs, part_of(folder, "abc"), impatient)
    programs.forget_calls()
    folder.with_name("weak_16k").mkdir()
    (folder / name("b")).rename(folder.with_name("weak_16k") / name("b"))
    assert fetch(programs, part_of(folder, "abcd"), impatient) == {}
    assert programs.calls == [video("d")]


def test_a_complete_part_needs_no_downloader(programs: Programs, folder: Path, impatient: RetryPolicy) -> None:
    fetch(programs, part_of(folder, "ab"), impatient)

    def no_downloader() -> ClipDownloader:
        raise AssertionError("nothing was missing")

    assert fetch_clips(part_of(folder, "ab"), no_downloader, 2, impatient) == {}


@pytest.mark.parametrize("happens", ["gone", "private", "adults"])
def test_a_video_that_is_gone_is_asked_for_once(
    happens: str, programs: Programs, folder: Path, impatient: RetryPolicy
) -> None:
    programs.plan({video("a"): [happens]})
    part = part_of(folder, "ab")
    missing = fetch(programs, part, impatient)
    assert {clip: why.kind for clip, why in missing.items()} == {name("a"): "permanent"}
    assert missing[name("a")].reason.startswith(f"ERROR: [youtube] {video('a')}: ")
    assert part.missing_table.read_text().splitlines()[1] == f"{name('a')}\tpermanent\t{missing[name('a')].reason}"
    assert fetch(programs, part, impatient) == missing
    assert programs.calls.count(video("a")) == 1


def test_a_video_that_came_back_is_had_when_asked_to_retry(
    programs: Programs, folder: Path, impatient: RetryPolicy
) -> None:
    programs.plan({video("a"): ["gone"]})
    part = part_of(folder, "ab")
    fetch(programs, part, impatient)
    programs.plan({})
    assert fetch(programs, part, impatient, retry_missing=True) == {}
    assert held(folder) == [name("a"), name("b")]
    assert not part.missing_table.exists()


@pytest.mark.parametrize("happens", ["throttled", "robot", "offline", "empty", "empty track", "truncated", "short"])
def test_what_passes_is_tried_again(happens: str, programs: Programs, folder: Path, impatient: RetryPolicy) -> None:
    programs.plan({video("a"): [happens, "good"]})
    assert fetch(programs, part_of(folder, "a"), impatient) == {}
    assert held(folder) == [name("a")]
    assert len(programs.calls) == 2


def test_a_download_that_hangs_is_ended_and_tried_again(
    programs: Programs, folder: Path, impatient: RetryPolicy
) -> None:
    programs.plan({video("a"): ["hangs", "good"]})
    assert fetch(programs, part_of(folder, "a"), replace(impatient, clip_timeout=1.0)) == {}
    assert held(folder) == [name("a")]


@pytest.mark.parametrize(
    ("happens", "reason"),
    [("throttled", "429"), ("empty", "empty"), ("truncated", "truncated"), ("empty track", "Invalid")],
)
def test_what_does_not_pass_in_time_is_noted_and_tried_by_the_next_run(
    happens: str, reason: str, programs: Programs, folder: Path, impatient: RetryPolicy
) -> None:
    programs.plan({video("a"): [happens]})
    part = part_of(folder, "ab")
    missing = fetch(programs, part, impatient)
    assert missing[name("a")].kind == "temporary"
    assert reason in missing[name("a")].reason
    assert held(folder) == [name("b")]
    assert programs.calls.count(video("a")) == impatient.clip_attempts
    programs.plan({})
    assert fetch(programs, part, impatient) == {}


@pytest.mark.parametrize(("happens", "seconds"), [("long", "4.00"), ("short", "0.30")])
def test_a_video_of_another_length_is_believed_the_second_time(
    happens: str, seconds: str, programs: Programs, folder: Path, impatient: RetryPolicy
) -> None:
    programs.plan({video("a"): [happens]})
    missing = fetch(programs, part_of(folder, "a"), impatient)
    assert missing == {name("a"): Missing("permanent", f"lasts {seconds} s instead of 2 s")}
    assert len(programs.calls) == 2
    assert held(folder) == []


def test_a_faulty_recording_is_replaced_wherever_it_lies(
    programs: Programs, folder: Path, impatient: RetryPolicy
) -> None:
    """Empty in the folder; cut short in the `_16k` twin, which would be taken before the new one."""
    twin = folder.with_name("weak_16k")
    fetch(programs, part_of(folder, "ab"), impatient)
    twin.mkdir()
    (twin / name("b")).write_bytes((folder / name("b")).read_bytes()[:1000])
    (folder / name("b")).unlink()
    (folder / name("a")).write_bytes(b"")
    assert fetch(programs, part_of(folder, "ab"), impatient) == {}
    assert held(folder) == [name("a"), name("b")]
    assert held(twin) == []


def test_what_cannot_be_replaced_is_left_where_it_is(programs: Programs, folder: Path, impatient: RetryPolicy) -> None:
    twin = folder.with_name("weak_16k")
    twin.mkdir(parents=True)
    (twin / name("a")).write_bytes(b"")
    programs.plan({video("a"): ["gone"]})
    assert set(fetch(programs, part_of(folder, "a"), impatient)) == {name("a")}
    assert held(twin) == [name("a")]


def test_without_any_answer_the_part_is_given_up_and_what_was_had_stays(
    programs: Programs, folder: Path, impatient: RetryPolicy
) -> None:
    programs.plan({video(letter): ["robot"] for letter in "cdefghijklmnop"})
    part = part_of(folder, "abcdefghijklmnop")
    with pytest.raises(FetchError, match=r"weak: several clips in a row could not be had \(.*not a bot.*; what was"):
        fetch(programs, part, impatient)
    assert held(folder) == [name("a"), name("b")]
    assert len(set(programs.calls)) <= 2 + 5 + 2
    programs.plan({})
    assert fetch(programs, part, impatient) == {}
    assert programs.calls.count(video("a")) == 1


def test_what_a_killed_run_left_is_removed(programs: Programs, folder: Path, impatient: RetryPolicy) -> None:
    (folder / ".fetching_abc").mkdir(parents=True)
    (folder / ".fetching_abc" / "track.webm").write_bytes(b"half")
    (folder / f"{name('a')}.partial").write_bytes(b"half")
    assert fetch(programs, part_of(folder, "ab"), impatient) == {}
    assert held(folder) == [name("a"), name("b")]


def test_an_interrupt_ends_everything_at_once_and_the_next_run_goes_on(
    programs: Programs, folder: Path, impatient: RetryPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while two clips are there and two downloads hang."""
    programs.plan({video(letter): ["hangs", "good"] for letter in "cd"})
    part = part_of(folder, "abcdef")

    def interrupting(futures: object) -> object:
        deadline = time.monotonic() + 20
        while len(programs.calls) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("desed_task.data.fetch.clips.as_completed", interrupting)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            fetch(programs, part, replace(impatient, clip_timeout=60.0))
        assert time.monotonic() - began < 20
    assert set(held(folder)) == {name("a"), name("b")}
    assert fetch(programs, part, impatient) == {}
    assert programs.calls.count(video("a")) == 1
    assert threading.active_count() < 10


class FullDisk:
    """A downloader on a disk without room."""

    def download(self, video_id: str, start: float, end: float, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    def end_all(self) -> None:
        """Nothing is under way."""


def test_a_full_disk_ends_the_work_in_one_sentence(folder: Path, impatient: RetryPolicy) -> None:
    with pytest.raises(FetchError, match=r"\.partial: No space left on device; see to that"):
        fetch_clips(part_of(folder, "abc"), FullDisk, 2, impatient)


def test_the_desed_package_is_asked_clip_by_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with the published function's signature and habits: a folder tmp/ here, errors in a table."""
    (tmp_path / "desed").mkdir()
    (tmp_path / "desed" / "__init__.py").write_text("")
    (tmp_path / "desed" / "download.py").write_text(
        "import os, wave\n"
        "def download_audioset_files(filenames, result_dir, n_jobs=1, chunk_size=10, missing_files_tsv='..'):\n"
        "    os.mkdir('tmp')\n"
        "    for name in filenames:\n"
        "        if 'bbb' in name:\n"
        "            open(missing_files_tsv, 'w').write(f'filename\\terror\\n{name}\\tERROR: Private video\\n')\n"
        "            continue\n"
        "        with wave.open(os.path.join(result_dir, name), 'wb') as recording:\n"
        "            recording.setnchannels(1)\n"
        "            recording.setsampwidth(2)\n"
        "            recording.setframerate(8000)\n"
        "            recording.writeframes(bytes(32000))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    DesedPackage().download(video("a"), 0.0, 2.0, tmp_path / "a.partial")
    assert check_header(tmp_path / "a.partial").duration == 2.0
    with pytest.raises(ClipFailureError, match="Private video"):
        DesedPackage().download(video("b"), 0.0, 2.0, tmp_path / "b.partial")
    assert {path.name for path in tmp_path.iterdir()} == {"desed", "a.partial"}


@pytest.mark.parametrize("container", ["webm", "m4a"])
def test_the_real_ffmpeg_cuts_where_the_name_says(container: str, tmp_path: Path) -> None:
    """A tone begins at 2.5 s of a track; of 2.0 to 4.0 s it begins after half a second, whatever the container.

    An m4a that is cut by seeking first begins 11 ms early.
    """
    ffmpeg = find_ffmpeg()
    if ffmpeg is None:
        pytest.skip("there is no ffmpeg here; `pip install imageio-ffmpeg` brings one")
    times = np.arange(6 * 44_100) / 44_100
    write_waveform(
        tmp_path / "track.wav", (0.5 * np.sin(2 * np.pi * 1000 * times) * (times >= 2.5)).astype("f4"), 44_100
    )
    track = tmp_path / f"track.{container}"
    subprocess.run([ffmpeg, "-loglevel", "error", "-i", tmp_path / "track.wav", "-b:a", "128k", track], check=True)
    yt_dlp = tmp_path / "yt-dlp"
    yt_dlp.write_text(f'#!/bin/sh\ncp "{track}" .\n')
    yt_dlp.chmod(0o755)
    YtDlp([str(yt_dlp)], ffmpeg).download(video("a"), 2.0, 4.0, tmp_path / "clip.partial")
    waveform = read_waveform(tmp_path / "clip.partial", 44_100)
    assert len(waveform) == 88_200
    assert np.flatnonzero(np.abs(waveform) > 0.2)[0] / 44_100 == pytest.approx(0.5, abs=0.002)


def test_the_programs_are_found_on_the_path(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(programs.folder))
    assert isinstance(find_downloader(), YtDlp)


@pytest.mark.parametrize("absent", ["yt-dlp", "ffmpeg"])
def test_a_program_that_is_not_installed_is_named_with_the_command(
    absent: str, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    (programs.folder / absent).unlink()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(programs.folder))
    with pytest.raises(FetchError, match=rf"need {absent}, .*pip install 'desed-task\[fetch\]'"):
        find_downloader()
