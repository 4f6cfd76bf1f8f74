"""GISE-51's release in small, from a server on the loopback."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from loopback_site import Mishap, Site

from desed_task.data.fetch.gise51 import RECORD, fetch_gise51, lacking_file
from desed_task.data.fetch.report import FetchReport
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.errors import FetchError

NAME = "soundscape_unimodal0_proc_00"
# Archives as they may have been made: with the folder of their name, with others around it, and without any.
HELD: dict[str, dict[str, bytes]] = {
    "train": {f"train/{NAME}.flac": b"a" * 50_000, f"train/{NAME}.txt": b"0.5\t1.5\tDog\n"},
    "val": {f"home/mixtures_flac/val/{NAME}.flac": b"b", f"home/mixtures_flac/val/{NAME}.txt": b""},
    "eval": {f"{NAME}.flac": b"c", f"./{NAME}.txt": b""},
    "isolated_events": {"isolated_events/train/Dog/1.wav": b"d", "isolated_events/val/Dog/2.wav": b"e"},
}


def packed(held: Mapping[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        for name, content in held.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


def path_of(part: str) -> str:
    return f"/api/records/{RECORD}/files/{part}.tar.gz/content"


@pytest.fixture
def record(site: Site) -> Site:
    entries = []
    for part, held in HELD.items():
        content = packed(held)
        site.files[path_of(part)] = content
        checksum = f"md5:{hashlib.md5(content).hexdigest()}"
        links = {"self": site.url(path_of(part))}
        entries.append({"key": f"{part}.tar.gz", "size": len(content), "checksum": checksum, "links": links})
    site.files[f"/api/records/{RECORD}"] = json.dumps({"id": RECORD, "files": entries}).encode()
    return site


@pytest.fixture
def fetch(record: Site, tmp_path: Path, impatient: RetryPolicy) -> Callable[..., FetchReport]:
    def fetching(*parts: str) -> FetchReport:
        kept = parts or ("train", "val", "eval")
        return fetch_gise51(tmp_path / "gise51", kept, zenodo=record.address, policy=impatient)

    return fetching


def asked(site: Site) -> list[str]:
    return [path.split("/")[-2] for path, _ in site.asked if path.endswith("/content")]


def test_mixtures_land_in_folders_of_their_parts_and_are_not_fetched_twice(
    fetch: Callable[..., FetchReport], record: Site, tmp_path: Path
) -> None:
    assert fetch().listed == {"gise51 train": 2, "gise51 val": 2, "gise51 eval": 2}
    root = tmp_path / "gise51"
    for part in ("train", "val", "eval"):
        assert {path.name for path in (root / part).iterdir()} == {f"{NAME}.flac", f"{NAME}.txt"}
        assert lacking_file(root, part) is None
    assert sorted(path.name for path in (root / "downloads").iterdir()) == ["eval.files", "train.files", "val.files"]
    before = len(record.asked)
    fetch()
    assert len(record.asked) == before
    fetch("isolated_events")
    assert asked(record) == ["train.tar.gz", "val.tar.gz", "eval.tar.gz", "isolated_events.tar.gz"]
    assert (root / "isolated_events" / "val" / "Dog" / "2.wav").read_bytes() == b"e"


def test_what_breaks_off_is_gone_on_with_and_what_is_lost_is_had_again(
    fetch: Callable[..., FetchReport], record: Site, tmp_path: Path
) -> None:
    record.plans[path_of("train")] = [Mishap(cut_after=40), Mishap(status=404)]
    with pytest.raises(FetchError, match=r"train\.tar\.gz"):
        fetch("train")
    assert lacking_file(tmp_path / "gise51", "train") == "downloads/train.files"
    fetch("train")
    assert record.ranges(path_of("train")) == [None, "bytes=40-", "bytes=40-"]
    (tmp_path / "gise51" / "train" / f"{NAME}.flac").unlink()
    assert lacking_file(tmp_path / "gise51", "train") == f"train/{NAME}.flac"
    fetch("train")
    assert (tmp_path / "gise51" / "train" / f"{NAME}.flac").read_bytes() == HELD["train"][f"train/{NAME}.flac"]


def test_another_checksum_is_refused(fetch: Callable[..., FetchReport], record: Site) -> None:
    record.files[path_of("val")] = record.files[path_of("val")][:-1] + b"x"
    with pytest.raises(FetchError, match=r"val\.tar\.gz\.partial: its md5 is"):
        fetch("val")


def test_an_archive_put_there_by_hand_is_taken_also_without_the_site(
    fetch: Callable[..., FetchReport], tmp_path: Path, site: Site, record: Site, impatient: RetryPolicy
) -> None:
    downloads = tmp_path / "gise51" / "downloads"
    downloads.mkdir(parents=True)
    (downloads / "val.tar.gz").write_bytes(record.files[path_of("val")])
    fetch("val")
    assert asked(record) == []
    (downloads / "eval.tar.gz").write_bytes(packed(HELD["eval"]))
    site.files.clear()
    assert fetch("eval").listed == {"gise51 eval": 2}


def test_what_the_record_lacks_is_said_with_what_it_has(
    fetch: Callable[..., FetchReport], tmp_path: Path, site: Site, impatient: RetryPolicy
) -> None:
    with pytest.raises(FetchError, match=r"lists no noises\.tar\.gz \(it has eval\.tar\.gz, .*put it into .*downloads"):
        fetch("noises")
    with pytest.raises(FetchError, match=r"part 'test' is none of train, val, eval"):
        fetch("test")


def test_an_archive_that_leads_elsewhere_is_refused(fetch: Callable[..., FetchReport], record: Site) -> None:
    content = packed({"train/../../../evil.txt": b"x"})
    record.files[path_of("train")] = content
    tree = json.loads(record.files[f"/api/records/{RECORD}"])
    tree["files"][0] |= {"size": len(content), "checksum": f"md5:{hashlib.md5(content).hexdigest()}"}
    record.files[f"/api/records/{RECORD}"] = json.dumps(tree).encode()
    with pytest.raises(FetchError, match="would be written outside the destination"):
        fetch("train")
