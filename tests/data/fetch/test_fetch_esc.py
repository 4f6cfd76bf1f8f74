"""ESC-50 from an archive in the shape in which GitHub packs it, with recordings of a few samples."""

from __future__ import annotations

import io
import wave
import zipfile
from pathlib import Path

import pytest
from loopback_site import Mishap, Site

from desed_task.data.corpora.esc import EscOptions, read_esc
from desed_task.data.fetch.esc import fetch_esc50
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.errors import FetchError

PATH = "/ESC-50/archive/master.zip"


def packed(num_recordings: int = 2000, num_listed: int = 2000) -> bytes:
    names = [f"{1 + i % 5}-{i}-A-{i % 50}.wav" for i in range(num_listed)]
    recording = io.BytesIO()
    with wave.open(recording, "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(8000)
        stream.writeframes(bytes(200))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        rows = "".join(f"{name},{name[0]},0,dog,True,1,A\n" for name in names)
        opened.writestr("ESC-50-master/meta/esc50.csv", f"filename,fold,target,category,esc10,src_file,take\n{rows}")
        opened.writestr("ESC-50-master/README.md", "ESC-50")
        opened.writestr("ESC-50-master/esc50.gif", "picture")
        opened.writestr("ESC-50-master/tests/test_dataset.py", "code")
        for name in names[:num_recordings]:
            opened.writestr(f"ESC-50-master/audio/{name}", recording.getvalue())
    return archive.getvalue()


@pytest.fixture(scope="module")
def archive() -> bytes:
    return packed()


@pytest.fixture
def esc(site: Site, archive: bytes) -> Site:
    site.files[PATH], site.with_etag = archive, False
    return site


def test_it_is_had_whole_over_a_connection_that_breaks_and_not_fetched_twice(
    esc: Site, tmp_path: Path, impatient: RetryPolicy
) -> None:
    esc.plans[PATH] = [Mishap(cut_after=5000), Mishap(no_length=True)]
    fetch_esc50(tmp_path, url=esc.url(PATH), policy=impatient)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] != ".") == [
        *("README.md", "audio", "downloads", "meta"),
    ]
    assert list((tmp_path / "downloads").iterdir()) == []
    assert read_esc(EscOptions(name="esc50", root=tmp_path), "weak").files_present == 2000
    fetch_esc50(tmp_path, url=esc.url(PATH), policy=impatient)
    assert len(esc.asked) == 2


def test_an_archive_without_a_length_that_ends_early_is_fetched_again(
    esc: Site, tmp_path: Path, impatient: RetryPolicy
) -> None:
    esc.plans[PATH] = [Mishap(no_length=True, cut_after=5000)]
    fetch_esc50(tmp_path, url=esc.url(PATH), policy=impatient)
    assert len(list((tmp_path / "audio").iterdir())) == 2000
    assert len(esc.asked) == 2


def test_a_lost_recording_is_had_again(esc: Site, tmp_path: Path, impatient: RetryPolicy) -> None:
    fetch_esc50(tmp_path, url=esc.url(PATH), policy=impatient)
    (tmp_path / "audio" / "1-0-A-0.wav").write_bytes(b"")
    fetch_esc50(tmp_path, url=esc.url(PATH), policy=impatient)
    assert (tmp_path / "audio" / "1-0-A-0.wav").stat().st_size > 0


@pytest.mark.parametrize(
    ("num_recordings", "num_listed", "fault"),
    [(1999, 2000, "1999 of 2000 recordings can be read"), (1999, 1999, "lists 1999 recordings, 2000 were published")],
)
def test_a_set_that_is_not_2000_recordings_is_refused(
    num_recordings: int, num_listed: int, fault: str, esc: Site, tmp_path: Path, impatient: RetryPolicy
) -> None:
    esc.files[PATH] = packed(num_recordings, num_listed)
    with pytest.raises(FetchError, match=fault):
        fetch_esc50(tmp_path, url=esc.url(PATH), policy=impatient)
