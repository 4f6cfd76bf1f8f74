"""FSD50K in small, its archives in parts, from a server on the loopback."""

from __future__ import annotations

import hashlib
import io
import json
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback_site import Mishap, Site
from split_archive import split

from desed_task.data.corpora.fsd50k import Fsd50kOptions, read_fsd50k
from desed_task.data.fetch.fsd50k import RECORD, fetch_fsd50k
from desed_task.data.fetch.report import FetchReport
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.errors import FetchError

NUM_DEV, NUM_EVAL = 6, 2


def recording(seed: int) -> bytes:
    written = io.BytesIO()
    with wave.open(written, "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(16_000)
        stream.writeframes(hashlib.shake_256(bytes([seed])).digest(40_000))
    return written.getvalue()


def published(folder: Path) -> dict[str, bytes]:
    """Name -> content of the files of the record."""
    dev = "".join(f'{n},"Dog,Bark","/m/1,/m/2",{"val" if n % 3 == 0 else "train"}\n' for n in range(NUM_DEV))
    evaluation = "".join(f"{100 + n},Bark,/m/2\n" for n in range(NUM_EVAL))
    truth = io.BytesIO()
    with zipfile.ZipFile(truth, "w") as archive:
        archive.writestr("FSD50K.ground_truth/dev.csv", f"fname,labels,mids,split\n{dev}")
        archive.writestr("FSD50K.ground_truth/eval.csv", f"fname,labels,mids\n{evaluation}")
        archive.writestr("FSD50K.ground_truth/vocabulary.csv", "0,Bark,/m/2\n1,Dog,/m/1\n")
    files = {"FSD50K.ground_truth.zip": truth.getvalue(), "FSD50K.doc.zip": b"not asked for"}
    for part, numbers in (("dev", range(NUM_DEV)), ("eval", range(100, 100 + NUM_EVAL))):
        folder.mkdir(exist_ok=True)
        split({f"FSD50K.{part}_audio/{n}.wav": recording(n) for n in numbers}, folder)
        for path in sorted(folder.glob("set.*")):
            files[f"FSD50K.{part}_audio{path.suffix}"] = path.read_bytes()
            path.unlink()
    return files


def path_of(name: str) -> str:
    return f"/api/records/{RECORD}/files/{name}/content"


@pytest.fixture
def record(site: Site, tmp_path: Path) -> Site:
    entries = []
    for name, content in published(tmp_path / "published").items():
        site.files[path_of(name)] = content
        checksum = f"md5:{hashlib.md5(content).hexdigest()}"
        links = {"self": site.url(path_of(name))}
        entries.append({"key": name, "size": len(content), "checksum": checksum, "links": links})
    site.files[f"/api/records/{RECORD}"] = json.dumps({"id": RECORD, "files": entries}).encode()
    return site


@pytest.fixture
def fetch(record: Site, tmp_path: Path, impatient: RetryPolicy) -> Callable[..., FetchReport]:
    def fetching(*parts: str) -> FetchReport:
        return fetch_fsd50k(tmp_path / "fsd50k", parts or ("dev", "eval"), zenodo=record.address, policy=impatient)

    return fetching


def asked(site: Site) -> list[str]:
    return [path.split("/")[-2] for path, _ in site.asked if path.endswith("/content")]


DEV_PARTS = [*(f"FSD50K.dev_audio.z0{n}" for n in (1, 2, 3)), "FSD50K.dev_audio.zip"]


def test_it_is_had_whole_and_not_fetched_twice(fetch: Callable[..., FetchReport], record: Site, tmp_path: Path) -> None:
    assert fetch().listed == {"fsd50k_dev": NUM_DEV, "fsd50k_eval": NUM_EVAL}
    root = tmp_path / "fsd50k"
    assert asked(record)[:5] == ["FSD50K.ground_truth.zip", *DEV_PARTS]
    assert "FSD50K.doc.zip" not in asked(record)
    assert list((root / "downloads").iterdir()) == []
    for part, num in (("dev", NUM_DEV), ("eval", NUM_EVAL)):
        clips = read_fsd50k(Fsd50kOptions.model_validate({"name": "fsd50k", "root": root, "part": part}), "weak")
        assert (clips.files_present, clips.files_expected) == (num, num)
    assert (root / "FSD50K.dev_audio" / "3.wav").read_bytes() == recording(3)
    before = len(record.asked)
    fetch()
    assert len(record.asked) == before


def test_a_part_that_breaks_off_is_gone_on_with(
    fetch: Callable[..., FetchReport], record: Site, tmp_path: Path
) -> None:
    second = path_of(DEV_PARTS[1])
    record.plans[second] = [Mishap(cut_after=30_000), Mishap(status=404)]
    with pytest.raises(FetchError, match=r"FSD50K\.dev_audio\.z02"):
        fetch("dev")
    assert (tmp_path / "fsd50k" / "downloads" / "FSD50K.dev_audio.z02.partial").stat().st_size == 30_000
    fetch("dev")
    assert record.ranges(second) == [None, "bytes=30000-", "bytes=30000-"]
    assert asked(record).count("FSD50K.dev_audio.z01") == 1
    assert not (tmp_path / "fsd50k" / "FSD50K.eval_audio").exists()


def test_a_part_with_another_checksum_is_refused(
    fetch: Callable[..., FetchReport], record: Site, tmp_path: Path
) -> None:
    content = bytearray(record.files[path_of(DEV_PARTS[1])])
    content[100] ^= 1
    record.files[path_of(DEV_PARTS[1])] = bytes(content)
    with pytest.raises(FetchError, match=r"z02\.partial: its md5 is"):
        fetch("dev")
    assert not (tmp_path / "fsd50k" / "FSD50K.dev_audio").exists()


def test_parts_that_were_put_there_by_hand_are_taken(
    fetch: Callable[..., FetchReport], record: Site, tmp_path: Path
) -> None:
    fetch("eval")
    downloads = tmp_path / "fsd50k" / "downloads"
    for name in DEV_PARTS:
        (downloads / name).write_bytes(record.files[path_of(name)])
    record.asked.clear()
    fetch("dev")
    assert asked(record) == []
    assert (tmp_path / "fsd50k" / "FSD50K.dev_audio" / "5.wav").is_file()


def test_lost_recordings_are_had_again(fetch: Callable[..., FetchReport], record: Site, tmp_path: Path) -> None:
    fetch("dev")
    (tmp_path / "fsd50k" / "FSD50K.dev_audio" / "2.wav").unlink()
    fetch("dev")
    assert (tmp_path / "fsd50k" / "FSD50K.dev_audio" / "2.wav").read_bytes() == recording(2)


def test_a_part_that_does_not_exist_is_refused(fetch: Callable[..., FetchReport]) -> None:
    with pytest.raises(FetchError, match="part 'train' is none of dev, eval"):
        fetch("train")


def test_a_record_that_cannot_be_reached_says_what_to_do(tmp_path: Path, site: Site, impatient: RetryPolicy) -> None:
    with pytest.raises(
        FetchError, match=r"fetch FSD50K\.ground_truth\.\* from .*records/4060432 elsewhere, put it into"
    ):
        fetch_fsd50k(tmp_path, zenodo=site.address, policy=impatient)
