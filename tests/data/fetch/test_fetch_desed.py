"""DESED in small, fetched whole from a server on the loopback and by programs that stand in for yt-dlp and ffmpeg."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Programs
from desed_in_small import (
    METADATA_PATH,
    STRONG,
    STRONG_PATH,
    SYNTHETIC_PATH,
    UNLABELED,
    VALIDATION,
    VIDEOS,
    WEAK,
    clip,
    held,
    publish,
    whole_set,
)
from filelock import FileLock
from loopback_site import Mishap, Site

from desed_task.data.corpora.desed import PARTS, DesedOptions, read_desed
from desed_task.data.fetch.desed import fetch_desed
from desed_task.data.fetch.report import FetchReport
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.errors import FetchError

ALL = ("strong", "real", "synth")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "dataset"


@pytest.fixture
def fetch(site: Site, programs: Programs, root: Path, impatient: RetryPolicy) -> Callable[..., FetchReport]:
    """fetch_desed of the small set into `root`."""
    publish(site)

    def fetching(*parts: str, retry_missing: bool = False) -> FetchReport:
        return fetch_desed(
            root,
            parts or ALL,
            2,
            retry_missing=retry_missing,
            downloader=programs.downloader(),
            zenodo=site.address,
            policy=impatient,
        )

    return fetching


def test_the_published_layout_is_had_whole(fetch: Callable[..., FetchReport], root: Path) -> None:
    report = fetch()
    assert held(root) == whole_set()
    assert not any(report.missing.values())
    assert report.summary().splitlines() == [
        "synthetic21_train: 4 of 4 clips are there",
        "synthetic21_validation: 2 of 2 clips are there",
        "weak: 3 of 3 clips are there",
        "unlabel_in_domain: 4 of 4 clips are there",
        "validation: 2 of 2 clips are there",
        "strong_label_real: 3 of 3 clips are there",
    ]


def test_what_was_fetched_is_read_as_a_corpus(fetch: Callable[..., FetchReport], root: Path) -> None:
    fetch()
    not_fetched, empty = {"public_eval", "eval"}, {"weak_validation"}  # a tenth of three clips
    for part in set(PARTS) - not_fetched - empty:
        clips = read_desed(DesedOptions(name="desed", root=root, part=part), "none")
        assert clips.files_present == clips.files_expected > 0


@pytest.mark.parametrize(
    ("part", "videos", "files"),
    [
        ("strong", STRONG, [STRONG_PATH]),
        ("real", WEAK + UNLABELED + VALIDATION, [METADATA_PATH]),
        ("synth", "", [SYNTHETIC_PATH]),
    ],
)
def test_one_part_fetches_nothing_of_the_others(
    part: str, videos: str, files: list[str], fetch: Callable[..., FetchReport], site: Site, programs: Programs
) -> None:
    fetch(part)
    assert sorted(programs.calls) == sorted(VIDEOS[letter] for letter in videos)
    assert [path for path, _ in site.asked if "/files/" in path] == files


def test_a_complete_set_asks_nobody(
    fetch: Callable[..., FetchReport], root: Path, site: Site, programs: Programs
) -> None:
    first = fetch()
    site.asked.clear()
    programs.forget_calls()
    assert fetch() == first
    assert site.asked == []
    assert programs.calls == []


def test_strong_clips_are_completed_though_their_table_is_there(
    fetch: Callable[..., FetchReport], root: Path, programs: Programs
) -> None:
    """The published script stops at the table."""
    fetch("strong")
    (root / "audio/train/strong_label_real" / clip("K")).unlink()
    programs.forget_calls()
    fetch("strong")
    assert programs.calls == [VIDEOS["K"]]


def test_missing_clips_are_counted_and_listed_part_by_part(
    fetch: Callable[..., FetchReport], root: Path, programs: Programs
) -> None:
    programs.plan({VIDEOS["A"]: ["gone"], VIDEOS["H"]: ["private"], VIDEOS["J"]: ["adults"], VIDEOS["K"]: ["gone"]})
    report = fetch()
    assert {part: number for part, number in report.missing.items() if number} == {
        "weak": 1,
        "validation": 1,
        "strong_label_real": 2,
    }
    assert "validation: 1 of 2 clips are there" in report.summary()
    assert "figures on fewer clips are not comparable" in report.summary()
    assert {path.name for path in (root / "missing_files").iterdir()} == {
        "missing_files_weak.tsv",
        "missing_files_validation.tsv",
        "missing_files_strong_label_real.tsv",
    }
    table = (root / "missing_files" / "missing_files_strong_label_real.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in table] == ["filename", clip("J"), clip("K")]
    programs.forget_calls()
    assert fetch() == report
    assert programs.calls == []
    programs.plan({})
    assert not any(fetch(retry_missing=True).missing.values())
    assert held(root) == whole_set()


def test_a_damaged_soundscape_is_unpacked_again_and_nothing_else_is_touched(
    fetch: Callable[..., FetchReport], root: Path, site: Site
) -> None:
    fetch("synth")
    soundscapes = root / "audio/train/synthetic21_train/soundscapes"
    before = (soundscapes / "0.wav").stat().st_mtime_ns
    (soundscapes / "1.wav").write_bytes(b"")
    table = root / "metadata/validation/synthetic21_validation/durations.tsv"
    table.write_text("filename\tduration\n0.wav\t2.0\n")  # corrected by its owner
    fetch("synth")
    assert (soundscapes / "1.wav").stat().st_size > 1000
    assert (soundscapes / "0.wav").stat().st_mtime_ns == before
    assert table.read_text() == "filename\tduration\n0.wav\t2.0\n"


def test_soundscapes_that_were_only_kept_at_16_khz_are_complete(
    fetch: Callable[..., FetchReport], root: Path, site: Site
) -> None:
    fetch("synth")
    soundscapes = root / "audio/train/synthetic21_train/soundscapes"
    soundscapes.rename(soundscapes.with_name("soundscapes_16k"))
    site.asked.clear()
    fetch("synth")
    assert site.asked == []


def test_an_archive_put_there_by_hand_is_used_without_any_request(
    fetch: Callable[..., FetchReport], root: Path, site: Site
) -> None:
    (root / "downloads").mkdir(parents=True)
    (root / "downloads" / "dcase_synth.zip").write_bytes(site.files[SYNTHETIC_PATH])
    fetch("synth")
    assert site.asked == []
    assert held(root) == {path for path in whole_set() if "synthetic21" in path}


def test_another_zip_under_that_name_is_refused(fetch: Callable[..., FetchReport], root: Path, site: Site) -> None:
    """What one gets who saves the page of the record and not its file."""
    (root / "downloads").mkdir(parents=True)
    (root / "downloads" / "dcase_synth.zip").write_bytes(b"<html>Zenodo</html>")
    with pytest.raises(FetchError, match=r"dcase_synth\.zip: neither zip nor tar \(it is a web page\); delete it"):
        fetch("synth")


def test_a_wrong_archive_is_refused_and_not_unpacked(fetch: Callable[..., FetchReport], root: Path, site: Site) -> None:
    site.files[SYNTHETIC_PATH] = b"?" * len(site.files[SYNTHETIC_PATH])
    with pytest.raises(FetchError, match="gives another file than was published"):
        fetch("synth")
    assert held(root) == set()


def test_without_zenodo_the_sentence_says_what_to_put_where(
    fetch: Callable[..., FetchReport], root: Path, site: Site
) -> None:
    site.files.clear()
    remedy = (
        rf"fetch audioset_metadata\.tar\.gz from {site.address}/records/4639776 elsewhere, put it at {root}/downloads"
    )
    with pytest.raises(FetchError, match=remedy):
        fetch("real")


def test_archives_come_over_a_connection_that_breaks(fetch: Callable[..., FetchReport], root: Path, site: Site) -> None:
    site.plans[SYNTHETIC_PATH] = [Mishap(cut_after=20_000), Mishap(status=503), Mishap(cut_after=20_000)]
    site.plans[METADATA_PATH] = [Mishap(cut_after=100), Mishap(ignore_range=True, cut_after=150)]
    fetch()
    assert held(root) == whole_set()
    assert site.ranges(SYNTHETIC_PATH) == [None, "bytes=20000-", "bytes=20000-", "bytes=40000-"]


def test_two_fetches_at_once_are_refused(fetch: Callable[..., FetchReport], root: Path) -> None:
    root.mkdir()
    with FileLock(root / ".fetch.lock"), pytest.raises(FetchError, match="another fetch is at work here"):
        fetch()


def test_an_unknown_part_is_refused(root: Path) -> None:
    with pytest.raises(FetchError, match="part 'strongly' is none of strong, real, synth"):
        fetch_desed(root, ["strongly"])
    with pytest.raises(FetchError, match="num_jobs 0 is below 1"):
        fetch_desed(root, ["strong"], 0)


# A real process, ended from outside.

FETCH_IN_A_PROCESS = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started deaf to it
from pathlib import Path
from desed_task.data.fetch.desed import fetch_desed
from desed_task.data.fetch.downloaders import YtDlp
root, programs, zenodo = sys.argv[1:]
downloader = YtDlp([programs + "/yt-dlp"], programs + "/ffmpeg", 20.0)
fetch_desed(Path(root), num_jobs=2, downloader=downloader, zenodo=zenodo)
"""


def end_when(reached: Callable[[], bool], how: signal.Signals, root: Path, programs: Programs, site: Site) -> int:
    """Fetch in a process of its own and end it when `reached` comes true; its exit code."""
    command = [sys.executable, "-c", FETCH_IN_A_PROCESS, str(root), str(programs.folder), site.address]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not reached():
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < deadline, "it never came so far"
            time.sleep(0.005)
        process.send_signal(how)
        return process.wait(30)
    finally:
        process.kill()
        process.wait()


def test_killed_in_the_middle_of_an_archive_it_goes_on_with_the_rest(
    fetch: Callable[..., FetchReport], root: Path, site: Site, programs: Programs
) -> None:
    site.plans[SYNTHETIC_PATH] = [Mishap(drip=0.01)]
    partial = root / "downloads" / "dcase_synth.zip.partial"
    archive_bytes = len(site.files[SYNTHETIC_PATH])
    code = end_when(lambda: partial.exists() and partial.stat().st_size > 20_000, signal.SIGKILL, root, programs, site)
    assert code == -signal.SIGKILL
    had = partial.stat().st_size
    assert 20_000 < had < archive_bytes
    fetch()
    assert held(root) == whole_set()
    assert site.ranges(SYNTHETIC_PATH) == [None, f"bytes={had}-"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
def test_ended_in_the_middle_of_the_clips_it_asks_only_for_the_others(
    how: signal.Signals, fetch: Callable[..., FetchReport], root: Path, site: Site, programs: Programs
) -> None:
    """Half of the weak and unlabeled clips are there, downloads are under way."""
    programs.plan({video: ["slow"] for video in VIDEOS.values()} | {VIDEOS["A"]: ["gone"]})
    # Not rglob: it would descend into folders of downloads under way, which vanish.
    end_when(lambda: len(list(root.glob("audio/*/*/Y*.wav"))) >= 4, how, root, programs, site)
    had = {path.name for path in root.rglob("Y*.wav")}
    assert 4 <= len(had) < 11
    assert all(path.stat().st_size > 1000 for path in root.rglob("Y*.wav"))
    programs.forget_calls()
    site.asked.clear()
    report = fetch()
    assert held(root) == (whole_set() - {f"audio/train/weak/{clip('A')}"}) | {"missing_files/missing_files_weak.tsv"}
    assert report.missing["weak"] == 1
    assert not {video for video in programs.calls if f"Y{video}_30.000_32.000.wav" in had}
    assert site.asked == []


def test_killed_while_it_unpacks_it_unpacks_the_rest(
    fetch: Callable[..., FetchReport], root: Path, site: Site, programs: Programs
) -> None:
    """As SIGKILL leaves it between two files: the archive is there, some of its files are, one is half written."""
    fetch()
    (root / "downloads" / "dcase_synth.zip").write_bytes(site.files[SYNTHETIC_PATH])
    shutil.rmtree(root / "metadata/validation/synthetic21_validation")
    wav = root / "audio/validation/synthetic21_validation/soundscapes/1.wav"
    wav.rename(wav.with_name("1.wav.partial"))
    site.asked.clear()
    fetch()
    assert held(root) == whole_set()
    assert site.asked == []
