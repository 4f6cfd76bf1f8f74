"""Names of clips, what is plausible, what a message means, and when everybody slows down."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from desed_task.audio.reading import AudioInfo
from desed_task.data.fetch.missing import Missing, read_missing, write_missing
from desed_task.data.fetch.pace import MOST_WITHOUT_ANSWER, Pace
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.data.fetch.youtube import Failure, VideoClip, fault_of, meaning_of, parse_clip
from desed_task.errors import FetchError
from desed_task.formats.dcase import read_durations, read_filenames


def test_a_file_name_says_video_and_seconds() -> None:
    clip = parse_clip("Y-8pCMgGKZY8_12.000_22.000.wav", Path("weak.tsv"))
    assert clip == VideoClip("Y-8pCMgGKZY8_12.000_22.000.wav", "-8pCMgGKZY8", 12.0, 22.0)
    assert parse_clip("Y_8pCMg_KZY__641_651.wav", Path("weak.tsv")).video_id == "_8pCMg_KZY_"


@pytest.mark.parametrize(
    "filename",
    [
        "a.wav",
        "Yshort_0.000_10.000.wav",
        "Y-8pCMgGKZY8_22.000_12.000.wav",
        "Y-8pCMgGKZY8_0_10.flac",
        "x/Y-8pCMgGKZY8_0_9.wav",
    ],
)
def test_another_name_is_refused_with_its_table(filename: str) -> None:
    with pytest.raises(FetchError, match=r"weak\.tsv: .* is not named Y<video id>"):
        parse_clip(filename, Path("weak.tsv"))


def test_every_published_name_is_understood(shared_data: Path) -> None:
    tables = ["train/weak.tsv", "train/unlabel_in_domain.tsv", "validation/validation.tsv"]
    paths = [shared_data / "desed_metadata" / table for table in tables]
    clips = {parse_clip(name, path).filename for path in paths for name in set(read_filenames(path))}
    assert len(clips) > 16_000


def test_every_published_duration_is_plausible(shared_data: Path) -> None:
    table = shared_data / "reference" / "dcase2021_student" / "validation_durations.tsv"
    durations = read_durations(table)
    faults = {
        name: fault_of(parse_clip(name, table), AudioInfo(seconds, 44_100, 1, "WAV"))
        for name, seconds in durations.items()
    }
    assert len(durations) == 1168
    assert not {name: fault for name, fault in faults.items() if fault}


@pytest.mark.parametrize(
    ("seconds", "is_plausible"), [(10.0, True), (10.2, True), (9.0, True), (8.8, False), (10.5, False), (20.0, False)]
)
def test_a_clip_of_ten_seconds_may_lack_the_last_one(seconds: float, is_plausible: bool) -> None:
    clip = VideoClip("Yaaaaaaaaaaa_0_10.wav", "aaaaaaaaaaa", 0.0, 10.0)
    assert (fault_of(clip, AudioInfo(seconds, 44_100, 1, "WAV")) is None) is is_plausible


STAYS = [
    "ERROR: [youtube] abc: Video unavailable",
    "ERROR: [youtube] abc: Video unavailable. This video is no longer available because the YouTube account associated "
    "with this video has been terminated.",
    "ERROR: [youtube] abc: Private video. Sign in if you've been granted access to this video",
    "ERROR: [youtube] abc: Sign in to confirm your age. This video may be inappropriate for some users.",
    "ERROR: [youtube] abc: This video has been removed by the uploader",
    "ERROR: [youtube] abc: The uploader has not made this video available in your country",
    "ERROR: [youtube] abc: Join this channel to get access to members-only content like this video",
]
THROTTLED = [
    "ERROR: Unable to download webpage: HTTP Error 429: Too Many Requests",
    "ERROR: [youtube] abc: Sign in to confirm you’re not a bot. This helps protect our community.",
    "ERROR: [youtube] abc: Video unavailable. This content isn't available, try again later. The current session has "
    "been rate-limited by YouTube for up to an hour.",
    "ERROR: unable to download video data: HTTP Error 403: Forbidden",
]
PASSES = [
    "ERROR: [youtube] abc: Unable to download API page: [Errno -3] Temporary failure in name resolution",
    "no end after 600 s",
    "ERROR: [youtube] abc: Requested format is not available. Use --list-formats for a list of available formats",
    "ERROR: Unable to extract yt initial data; please report this issue",
    "something that nobody has seen yet",
]


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        *((m, Failure.STAYS) for m in STAYS),
        *((m, Failure.THROTTLED) for m in THROTTLED),
        *((m, Failure.PASSES) for m in PASSES),
    ],
)
def test_what_a_message_means(message: str, meaning: Failure) -> None:
    assert meaning_of(message) is meaning


def test_a_failure_makes_everybody_wait_and_further_ones_wait_longer() -> None:
    pace = Pace(RetryPolicy(first_wait=0.05, longest_wait=1.0))
    pace.failed("429")
    began = threading.Event()
    others = [threading.Thread(target=pace.wait) for _ in range(3)]
    for other in others:
        other.start()
    assert not began.wait(0.02)
    assert all(other.is_alive() for other in others)
    for other in others:
        other.join(2.0)
    assert not any(other.is_alive() for other in others)


def test_a_stop_ends_every_wait_at_once() -> None:
    pace = Pace(RetryPolicy(first_wait=60.0))
    pace.failed("429")
    answers: list[bool] = []
    other = threading.Thread(target=lambda: answers.append(pace.wait()))
    other.start()
    pace.stopped.set()
    other.join(2.0)
    assert answers == [False]


def test_an_answer_between_them_makes_failures_bearable() -> None:
    pace = Pace(RetryPolicy(first_wait=0.0))
    for _ in range(MOST_WITHOUT_ANSWER - 1):
        pace.gave_up()
    pace.answered()
    pace.gave_up()
    assert not pace.is_lost
    for _ in range(MOST_WITHOUT_ANSWER - 1):
        pace.gave_up()
    assert pace.is_lost
    assert not pace.wait()


def test_missing_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = tmp_path / "missing_files" / "missing_files_weak.tsv"
    missing = {"a.wav": Missing("permanent", 'Private "video"'), "b.wav": Missing("temporary", "two\nlines\tand a tab")}
    write_missing(missing, table)
    assert table.read_text().splitlines()[0] == "filename\tkind\treason"
    assert read_missing(table) == {**missing, "b.wav": Missing("temporary", "two lines and a tab")}
    write_missing({}, table)
    assert not table.exists()
    assert read_missing(table) == {}


def test_the_published_table_of_missing_files_is_read_and_its_clips_are_tried_again(tmp_path: Path) -> None:
    table = tmp_path / "missing_files_weak.tsv"
    table.write_text("filename\terror\na.wav\tVideo unavailable\n")
    assert read_missing(table) == {"a.wav": Missing("temporary", "Video unavailable")}


def test_a_table_of_missing_files_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "n.tsv").write_text("name\n")
    for name in ("m.tsv", "n.tsv"):
        with pytest.raises(FetchError, match="delete it, its clips are then tried again"):
            read_missing(tmp_path / name)
