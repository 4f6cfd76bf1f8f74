"""AudioSet in small: tables from a server on the loopback, clips by programs that stand in for yt-dlp and ffmpeg."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Programs
from loopback_site import Site

from desed_task.data.corpora.audioset import AudioSetOptions, read_audioset
from desed_task.data.fetch.audioset import fetch_audioset, folder_of, table_of
from desed_task.data.fetch.report import FetchReport
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.errors import FetchError

CLASSES = 'index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/m/0bt9lr,"Dog"\n'
VIDEOS = ("--PJHxphWEs", "-0123456789", "abcdefghijk")


def segments(*videos: str, stated: int | None = None) -> bytes:
    num = len(videos) if stated is None else stated
    rows = "".join(f'{video}, 30.000, 40.000, "/m/09x0r,/m/0bt9lr"\n' for video in videos)
    return (
        f"# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids={num}, num_segs={num}, num_unique_labels=2\n"
        f"# YTID, start_seconds, end_seconds, positive_labels\n{rows}"
    ).encode()


@pytest.fixture
def fetch(site: Site, programs: Programs, tmp_path: Path, impatient: RetryPolicy) -> Callable[..., FetchReport]:
    site.files["/class_labels_indices.csv"] = CLASSES.encode()
    site.files["/balanced_train_segments.csv"] = segments(*VIDEOS)
    site.files["/eval_segments.csv"] = segments("evalevaleva")

    def fetching(*parts: str, retry_missing: bool = False) -> FetchReport:
        return fetch_audioset(
            tmp_path / "audioset",
            parts or ("balanced_train", "eval"),
            2,
            retry_missing=retry_missing,
            downloader=programs.downloader(),
            tables=site.address,
            policy=impatient,
        )

    return fetching


def test_tables_and_clips_are_had_and_read(
    fetch: Callable[..., FetchReport], programs: Programs, site: Site, tmp_path: Path
) -> None:
    programs.plan({VIDEOS[1]: ["gone"]})
    report = fetch()
    assert report.listed == {"audioset_balanced_train": 3, "audioset_eval": 1}
    assert report.missing == {"audioset_balanced_train": 1, "audioset_eval": 0}
    root = tmp_path / "audioset"
    assert "Video unavailable" in (root / "missing_files" / "missing_files_balanced_train.tsv").read_text()
    part = "balanced_train"
    clips = read_audioset(
        AudioSetOptions(name="audioset", table=table_of(root, part), root=folder_of(root, part)), "weak"
    )
    assert clips.tags == {VIDEOS[0]: ("Speech", "Dog"), VIDEOS[2]: ("Speech", "Dog")}
    assert clips.files_expected == 3
    programs.forget_calls()
    asked = len(site.asked)
    fetch()
    assert (programs.calls, len(site.asked)) == ([], asked)
    fetch(retry_missing=True)
    assert programs.calls == [VIDEOS[1]]


def test_a_list_that_was_cut_off_is_refused(fetch: Callable[..., FetchReport], site: Site, tmp_path: Path) -> None:
    site.files["/eval_segments.csv"] = segments("evalevaleva", stated=2)
    with pytest.raises(FetchError, match=r"eval_segments\.csv\.partial: holds 1 segments and states 2"):
        fetch("eval")
    assert not (tmp_path / "audioset" / "eval_segments.csv").exists()
    site.files["/eval_segments.csv"] = b"<html>"
    with pytest.raises(FetchError, match=r"row 1: 1 cells instead of 4"):
        fetch("eval")
    site.files["/class_labels_indices.csv"] = b"<html>"
    (tmp_path / "audioset" / "class_labels_indices.csv").unlink()
    with pytest.raises(FetchError, match="not the table of AudioSet's classes"):
        fetch("eval")
    with pytest.raises(FetchError, match="part 'train' is none of balanced_train, eval, unbalanced_train"):
        fetch("train")
