"""Weights of published networks: fetched once, whole and verified, or refused with where to put them."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from loopback_site import Mishap, Site

from desed_task.data.fetch import weights
from desed_task.data.fetch.download import RemoteFile
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.data.fetch.weights import PublishedWeights, fetch_weights
from desed_task.errors import FetchError

CONTENT = bytes(range(256)) * 40  # 10 240 bytes
PATH = "/records/1/files/Net_mAP%3D0.4.pth?download=1"
ALL = (weights.CNN14_16K, weights.CNN14, weights.CNN14_DECISION_LEVEL_MAX, weights.AST_AUDIOSET)


@pytest.fixture
def published(site: Site) -> PublishedWeights:
    site.files[PATH] = CONTENT
    checksum = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    return PublishedWeights("Net_mAP=0.4.pth", RemoteFile(site.url(PATH), len(CONTENT), checksum), "original.pth")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_an_interrupted_transfer_goes_on_where_it_ended(
    published: PublishedWeights, tmp_path: Path, site: Site, impatient: RetryPolicy
) -> None:
    once = replace(impatient, attempts=1)
    site.plans[PATH] = [Mishap(cut_after=4000), Mishap(status=503), Mishap(status=503)]
    with pytest.raises(FetchError, match="4000 bytes are kept"):
        fetch_weights(published, tmp_path / "pretrained", once)
    assert names(tmp_path / "pretrained") == ["Net_mAP=0.4.pth.partial", "Net_mAP=0.4.pth.partial.version"]
    site.plans[PATH] = []
    path = fetch_weights(published, tmp_path / "pretrained", once)
    assert path == tmp_path / "pretrained" / "Net_mAP=0.4.pth"
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == [path.name]
    assert site.ranges(PATH)[-1] == "bytes=4000-"


def test_what_is_there_is_verified_and_not_asked_for(
    published: PublishedWeights, tmp_path: Path, site: Site, impatient: RetryPolicy
) -> None:
    (tmp_path / published.name).write_bytes(CONTENT)
    assert fetch_weights(published, tmp_path, impatient) == tmp_path / published.name
    (tmp_path / published.name).write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(FetchError, match=r"its sha256 is .* was published; delete it, so that it is fetched from"):
        fetch_weights(published, tmp_path, impatient)
    assert site.asked == []
    assert names(tmp_path) == [published.name]  # someone's file is not deleted


@pytest.mark.parametrize(("content", "reason"), [(CONTENT[::-1], "its sha256 is"), (CONTENT[:-9], "10231 bytes on")])
def test_another_file_than_was_published_is_refused_and_removed(
    content: bytes, reason: str, published: PublishedWeights, tmp_path: Path, site: Site, impatient: RetryPolicy
) -> None:
    site.files[PATH] = content
    with pytest.raises(FetchError, match=reason):
        fetch_weights(published, tmp_path, impatient)
    assert names(tmp_path) == []


def test_without_a_network_one_sentence_names_address_size_and_place(
    published: PublishedWeights, tmp_path: Path, impatient: RetryPolicy
) -> None:
    address = "http://127.0.0.1:9/Net.pth"
    remote = RemoteFile(address, 10240, published.remote.checksum)
    with pytest.raises(FetchError) as refused:
        fetch_weights(replace(published, remote=remote), tmp_path, impatient)
    sentence, place = str(refused.value), tmp_path / published.name
    assert re.match(rf"{address}: .*; fetch it elsewhere, put it at {place} \(10240 bytes\) and", sentence)
    assert "\n" not in sentence


def test_the_original_may_lie_there_under_its_own_name(
    published: PublishedWeights, tmp_path: Path, site: Site, impatient: RetryPolicy
) -> None:
    (tmp_path / "original.pth").write_bytes(b"any")
    assert fetch_weights(published, tmp_path, impatient) == tmp_path / "original.pth"
    assert site.asked == []


def test_two_that_ask_at_once_fetch_it_once(
    published: PublishedWeights, tmp_path: Path, site: Site, impatient: RetryPolicy
) -> None:
    site.plans[PATH] = [Mishap(drip=0.01)]
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda: paths.append(fetch_weights(published, tmp_path, impatient))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [tmp_path / published.name] * 2
    assert site.ranges(PATH) == [None]


def test_a_folder_that_cannot_be_made_is_refused(published: PublishedWeights, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FetchError, match=r"file/pretrained: cannot be written \(Not a directory\); name another"):
        fetch_weights(published, tmp_path / "file" / "pretrained")


@pytest.mark.parametrize("published", ALL, ids=[each.name for each in ALL])
def test_what_is_published_is_fetched_safely_and_fully_described(published: PublishedWeights) -> None:
    assert published.remote.url.startswith("https://")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", published.remote.checksum or "")
    # 80.75 million parameters of PANNs and 86.59 of AST in float32 are in the file, and not much more
    assert published.remote.size is not None
    assert 4 * 80_753_615 < published.remote.size < 1.12 * 4 * 80_753_615
