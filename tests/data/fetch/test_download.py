"""One file over a connection that breaks: it arrives once, whole and verified, or not at all and with a reason."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from loopback_site import Mishap, Site

from desed_task.data.fetch.download import RemoteFile, fetch_file
from desed_task.data.fetch.retrying import RetryPolicy, seconds_to_wait
from desed_task.data.fetch.zenodo import find_file
from desed_task.errors import FetchError

CONTENT = bytes(range(256)) * 40  # 10 240 bytes
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def remote(site: Site) -> RemoteFile:
    site.files["/file"] = CONTENT
    return RemoteFile(site.url("/file"), len(CONTENT), MD5)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "file"


def only(target: Path) -> bool:
    """Whether the file is there, right, and nothing else beside it."""
    return [path.name for path in target.parent.iterdir()] == ["file"] and target.read_bytes() == CONTENT


@pytest.mark.parametrize("checksum", [MD5, SHA256, MD5.upper().replace("MD5", "md5"), None])
def test_a_file_arrives_in_one_request(
    checksum: str | None, remote: RemoteFile, target: Path, site: Site, impatient: RetryPolicy
) -> None:
    fetch_file(replace(remote, checksum=checksum), target, impatient)
    assert only(target)
    assert site.ranges("/file") == [None]


def test_what_is_there_is_verified_and_not_fetched_again(
    remote: RemoteFile, target: Path, site: Site, impatient: RetryPolicy
) -> None:
    fetch_file(remote, target, impatient)
    fetch_file(remote, target, impatient)
    assert len(site.asked) == 1
    target.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(FetchError, match=r"its md5 is .* was published; delete it"):
        fetch_file(remote, target, impatient)


def test_a_broken_connection_goes_on_where_it_broke(
    remote: RemoteFile, target: Path, site: Site, impatient: RetryPolicy
) -> None:
    site.plans["/file"] = [Mishap(cut_after=1000), Mishap(cut_after=3000)]
    fetch_file(remote, target, impatient)
    assert only(target)
    assert site.ranges("/file") == [None, "bytes=1000-", "bytes=4000-"]


def test_a_server_that_knows_no_ranges_starts_over(
    remote: RemoteFile, target: Path, site: Site, impatient: RetryPolicy
) -> None:
    site.plans["/file"] = [Mishap(cut_after=1000), Mishap(ignore_range=True)]
    fetch_file(remote, target, impatient)
    assert only(target)
    assert site.ranges("/file") == [None, "bytes=1000-"]


def test_two_versions_of_a_file_are_never_joined(target: Path, site: Site, impatient: RetryPolicy) -> None:
    """Without a checksum the ETag alone tells them apart: the server has a new version, so all of it comes."""
    site.files["/file"] = b"old " * 2560
    site.plans["/file"] = [Mishap(cut_after=1000), *[Mishap(status=503)] * 3]
    with pytest.raises(FetchError, match="503"):
        fetch_file(RemoteFile(site.url("/file")), target, impatient)
    assert target.with_name("file.partial").stat().st_size == 1000
    site.files["/file"] = CONTENT
    fetch_file(RemoteFile(site.url("/file")), target, impatient)
    assert only(target)


def test_without_a_version_and_a_checksum_nothing_is_resumed(target: Path, site: Site, impatient: RetryPolicy) -> None:
    site.files["/file"], site.with_etag = CONTENT, False
    site.plans["/file"] = [Mishap(cut_after=1000)]
    fetch_file(RemoteFile(site.url("/file"), len(CONTENT)), target, impatient)
    assert only(target)
    assert site.ranges("/file") == [None, None]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(
    remote: RemoteFile, target: Path, site: Site, impatient: RetryPolicy
) -> None:
    site.plans["/file"] = [Mishap(cut_after=1000), *[Mishap(status=500)] * 3]
    with pytest.raises(FetchError, match="1000 bytes are kept"):
        fetch_file(remote, target, impatient)
    assert not target.exists()
    site.asked.clear()
    fetch_file(remote, target, impatient)
    assert only(target)
    assert site.ranges("/file") == ["bytes=1000-"]


def test_progress_renews_patience(remote: RemoteFile, target: Path, site: Site, impatient: RetryPolicy) -> None:
    """Nine cuts, more than the four attempts in a row that would be given up."""
    site.plans["/file"] = [Mishap(cut_after=1024)] * 9
    fetch_file(remote, target, impatient)
    assert only(target)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(
    status: int, remote: RemoteFile, target: Path, site: Site, impatient: RetryPolicy
) -> None:
    site.plans["/file"] = [Mishap(status=status, retry_after="0")] * 3
    fetch_file(remote, target, impatient)
    assert only(target)
    assert len(site.asked) == 4


def test_the_wait_that_a_server_asks_for_is_kept(
    remote: RemoteFile, target: Path, site: Site, impatient: RetryPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("desed_task.data.fetch.download.time.sleep", waited.append)
    site.plans["/file"] = [Mishap(status=429, retry_after="7"), Mishap(status=503)]
    fetch_file(remote, target, replace(impatient, longest_wait=30.0))
    assert waited[0] == 7.0
    assert 0.01 < waited[1] < 0.03  # the second attempt: twice .01 s, more or less a quarter


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)
    assert seconds_to_wait("120") == 120.0
    assert seconds_to_wait("Wed, 01 May 2024 12:00:30 GMT", lambda: now) == 30.0
    assert seconds_to_wait("Wed, 01 May 2024 11:00:00 GMT", lambda: now) == 0.0
    assert seconds_to_wait("soon") is None


def test_a_file_that_is_not_there_is_refused_at_once_with_the_way_out(
    remote: RemoteFile, target: Path, site: Site, impatient: RetryPolicy
) -> None:
    with pytest.raises(FetchError, match=rf"Not Found; fetch it elsewhere, put it at {target} \(10240 bytes\) and run"):
        fetch_file(replace(remote, url=site.url("/nothing")), target, impatient)
    assert len(site.asked) == 1


def test_no_server_at_all_is_said_with_the_way_out(target: Path, impatient: RetryPolicy) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/file"
        with pytest.raises(
            FetchError, match=r"refused \(4 attempts, 0 bytes are kept\); fetch it elsewhere, put it at"
        ):
            fetch_file(RemoteFile(url), target, impatient)


def test_a_silent_server_is_given_up(target: Path, impatient: RetryPolicy) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        with pytest.raises(FetchError, match="timed out"):
            fetch_file(RemoteFile(url), target, replace(impatient, attempts=2, timeout=0.2))


@pytest.mark.parametrize("wrong", [b"!" * len(CONTENT), CONTENT + b"!", CONTENT[:-1]])
def test_a_wrong_file_is_fetched_once_more_then_refused(
    wrong: bytes, remote: RemoteFile, target: Path, site: Site, impatient: RetryPolicy
) -> None:
    site.files["/file"] = wrong
    remote = RemoteFile(remote.url, len(wrong), MD5)
    with pytest.raises(FetchError, match=r"its md5 is .* gives another file than was published"):
        fetch_file(remote, target, impatient)
    assert site.ranges("/file") == [None, None]
    assert list(target.parent.iterdir()) == []


def test_a_damaged_beginning_is_replaced(remote: RemoteFile, target: Path, site: Site, impatient: RetryPolicy) -> None:
    """Resumed, the file has the right length and the wrong md5; the second time all of it comes."""
    target.parent.mkdir()
    target.with_name("file.partial").write_bytes(b"x" * 1000)
    fetch_file(remote, target, impatient)
    assert only(target)
    assert site.ranges("/file") == ["bytes=1000-", None]


def test_a_beginning_that_is_too_long_is_replaced(
    remote: RemoteFile, target: Path, site: Site, impatient: RetryPolicy
) -> None:
    target.parent.mkdir()
    target.with_name("file.partial").write_bytes(CONTENT + b"more")
    fetch_file(remote, target, impatient)
    assert only(target)


def test_a_beginning_longer_than_a_file_of_unknown_size_is_replaced(
    target: Path, site: Site, impatient: RetryPolicy
) -> None:
    site.files["/file"] = CONTENT
    target.parent.mkdir()
    target.with_name("file.partial").write_bytes(CONTENT + b"more")
    fetch_file(RemoteFile(site.url("/file"), None, MD5), target, impatient)
    assert only(target)
    assert site.ranges("/file") == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_size_other_than_the_published_is_refused_before_the_download(
    remote: RemoteFile, target: Path, impatient: RetryPolicy
) -> None:
    with pytest.raises(FetchError, match="10240 bytes on the server, 99 were published"):
        fetch_file(replace(remote, size=99), target, impatient)


def test_a_file_without_a_length_ends_with_its_connection(target: Path, site: Site, impatient: RetryPolicy) -> None:
    site.files["/file"], site.plans["/file"] = CONTENT, [Mishap(no_length=True)]
    fetch_file(RemoteFile(site.url("/file"), None, MD5), target, impatient)
    assert only(target)


def test_a_full_disk_is_said_before_the_first_byte(
    remote: RemoteFile, target: Path, impatient: RetryPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 100})()
    monkeypatch.setattr("desed_task.data.fetch.download.shutil.disk_usage", lambda path: usage)
    with pytest.raises(FetchError, match=r"0\.0 GB free"):
        fetch_file(remote, target, impatient)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/file"])
def test_only_the_web_is_fetched(url: str, target: Path) -> None:
    with pytest.raises(FetchError, match="only http and https"):
        fetch_file(RemoteFile(url), target)


def test_an_unknown_kind_of_checksum_is_refused() -> None:
    with pytest.raises(FetchError, match="neither md5"):
        RemoteFile("http://127.0.0.1/file", checksum="crc32:12345678")


def test_zenodo_says_size_and_md5(site: Site, impatient: RetryPolicy) -> None:
    path = site.publish(17, "file", CONTENT)
    site.plans["/api/records/17"] = [Mishap(status=502), Mishap(cut_after=10)]
    assert find_file(17, "file", impatient, site.address) == RemoteFile(site.url(path), len(CONTENT), MD5)


@pytest.mark.parametrize("reply", [b"<html>maintenance</html>", b"[]", b'{"files": [{"key": "other"}]}', b"{}"])
def test_a_reply_of_zenodo_that_says_nothing_is_refused(reply: bytes, site: Site, impatient: RetryPolicy) -> None:
    site.files["/api/records/17"] = reply
    with pytest.raises(FetchError, match=r"/api/records/17: (not the description|says nothing usable)"):
        find_file(17, "file", impatient, site.address)
