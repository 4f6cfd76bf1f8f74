"""A real server meets the hostile corpus: it refuses with reasons, never dies, and answers others in between."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from benchmarks.hostile.bombs import bombs, flac_silence, mp3_silence, ogg_silence
from benchmarks.hostile.checksums import checksum
from benchmarks.hostile.chunk_layout import boundaries, ogg_pages
from benchmarks.hostile.corpus import decodable, hostile_files
from benchmarks.hostile.mutations import MAGIC_BYTES, mutate
from benchmarks.hostile.verdicts import fault_of, reached_decoder
from benchmarks.hostile.whole_files import ALLOWED, encode, sweep, whole_files
from benchmarks.serving_process import Running, serving
from desed_task.audio.containers import container_of

EVERY, BOMB_BYTES = 25, 5_000


@contextmanager
def hostile_server(bundle: Path, folder: Path, isolation: str) -> Iterator[Running]:
    with serving(bundle, folder, {"num_threads": 1, "decode_isolation": isolation}) as running:
        yield running
        assert running.alive
        assert running.stop() == 0
        assert "Traceback" not in running.log.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize(
    ("isolation", "share"),
    [("thread", 1), ("process", 3), pytest.param("process", 1, marks=pytest.mark.slow)],
    ids=["threads", "processes, every third", "processes"],
)
def test_all_of_the_corpus_is_answered_or_refused(
    isolation: str, share: int, tiny_bundle: Path, tmp_path: Path
) -> None:
    clip = encode(sweep(16_000), "WAV", "PCM_16")
    files = hostile_files(BOMB_BYTES)[::share]
    faults, codes = [], Counter[str]()
    with (
        hostile_server(tiny_bundle, tmp_path, isolation) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):

        def post(content: bytes, content_type: str) -> httpx.Response:
            return client.post("/v1/events", content=content, headers={"Content-Type": content_type})

        expected = post(clip, "audio/wav").json()["tags"]
        for number, file in enumerate(files):
            answer = post(file.content, file.content_type)
            fault = fault_of(answer.status_code, answer.headers.get("content-type", ""), answer.content)
            if fault is None and file.answered not in (None, answer.status_code == 200):
                fault = f"status {answer.status_code}: {answer.text}"
            if fault is not None:
                faults.append(f"{file.name}: {fault}")
            codes[answer.json().get("code", "answered")] += 1
            if number % EVERY == 0:
                assert post(clip, "audio/wav").json()["tags"] == expected, f"after {file.name}"
    assert faults == []
    # Were it all refused at the door, nothing would be shown.
    assert codes["answered"] > 60 / share and codes["bad_audio"] > 80 / share
    assert codes["unknown_container"] > 30 / share


def test_it_is_large_and_its_names_are_unlike() -> None:
    names = [file.name for file in hostile_files()]
    assert len(names) == len(set(names)) >= 200
    assert {name.partition(":")[0] for name in names} == {
        *("allowed", "not allowed", "cut", "lying", "strange", "foreign", "malformed", "bomb")
    }


def test_mutations_keep_the_first_bytes_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    originals = [content for content in decodable(hostile_files()) if len(content) > MAGIC_BYTES]
    changed = reached = 0
    for number in range(300):
        content, other = originals[number % len(originals)], originals[(7 * number + 1) % len(originals)]
        mutated = mutate(content, other, rng)
        assert mutated[:MAGIC_BYTES] == content[:MAGIC_BYTES]
        changed += mutated != content
        reached += container_of(mutated) is not None
    assert changed > 280
    assert reached > 150
    again = np.random.default_rng(9), np.random.default_rng(9)
    assert mutate(originals[3], originals[8], again[0]) == mutate(originals[3], originals[8], again[1])


def test_bombs_are_sound_to_the_last_checksum() -> None:
    silences = {
        "flac": flac_silence(5_000, 1, 16_000),
        "flac, 8 channels": flac_silence(10_000, 8, 8_000),
        "vorbis": ogg_silence(20_000, "VORBIS", 8_000),
        "opus": ogg_silence(20_000, "OPUS", 48_000),
        "mp3": mp3_silence(20_000),
    }
    for name, content in silences.items():
        with soundfile.SoundFile(io.BytesIO(content)) as recording:
            claimed, decoded = recording.frames, 0
            while len(block := recording.read(1 << 18)):
                decoded += len(block)
                assert np.abs(block).max() < 1e-6, name
        assert claimed <= decoded <= claimed + 2_000, name
        assert 4 * decoded * recording.channels > 50 * len(content), name


def test_bombs_are_as_large_as_asked_for() -> None:
    for name, content in bombs(100_000).items():
        assert 90_000 < len(content) <= 100_000, name


def test_parts_are_found_where_containers_have_them() -> None:
    wav, ogg = whole_files()["wav pcm16"], whole_files()["ogg vorbis"]
    assert boundaries(wav) == [12, 20, 36, 44, len(wav)]
    assert [ogg[offset : offset + 4] for offset, _ in ogg_pages(ogg)] == [b"OggS"] * len(ogg_pages(ogg))
    assert sum(length for _, length in ogg_pages(ogg)) == len(ogg)
    m4a = whole_files()["m4a aac"]
    assert {m4a.index(name) - 4 for name in (b"moov", b"trak", b"stbl", b"stsz")} <= set(boundaries(m4a))
    webm = whole_files()["webm opus"]
    assert {webm.rindex(b"\x1f\x43\xb6\x75"), webm.rindex(b"\x16\x54\xae\x6b")} <= set(boundaries(webm))
    assert all(len(boundaries(whole_files()[name])) > 1 for name in ALLOWED)


def test_checksums_are_those_of_the_containers() -> None:
    assert checksum(b"123456789", 8) == 0xF4
    assert checksum(b"123456789", 16) == 0xFEE8
    assert checksum(b"123456789", 32) == 0x89A1897F
    ogg = whole_files()["ogg opus"]
    page = ogg[: ogg_pages(ogg)[0][1]]
    assert checksum(page[:22] + bytes(4) + page[26:], 32) == int.from_bytes(page[22:26], "little")


PROBLEM = {"type": "about:blank", "title": "x", "status": 422, "detail": "x", "instance": "/", "code": "bad_audio"}


@pytest.mark.parametrize(
    ("status", "content_type", "document", "fault"),
    [
        (422, "application/problem+json", PROBLEM, None),
        (200, "application/json", {"tags": []}, None),
        (422, "application/json", PROBLEM, "as application/json"),
        (500, "application/problem+json", PROBLEM | {"status": 500}, "status 500"),
        (415, "application/problem+json", PROBLEM, "status 422 in an answer of 415"),
        (422, "application/problem+json", {**PROBLEM, "code": None}, "code is None"),
        (422, "application/problem+json", {**PROBLEM, "detail": "a\nb"}, "not one line"),
        (422, "application/problem+json", [], "no object"),
        (0, "", {}, "no answer"),
    ],
)
def test_verdicts(status: int, content_type: str, document: object, fault: str | None) -> None:
    found = fault_of(status, content_type, json.dumps(document).encode())
    assert found is None if fault is None else found is not None and fault in found


def test_what_reached_the_decoder_is_told_by_the_answer() -> None:
    def said(status: int, code: str) -> bool:
        return reached_decoder(status, json.dumps(PROBLEM | {"status": status, "code": code}).encode())

    assert [said(422, "bad_audio"), said(415, "unknown_container"), said(422, "bad_parameter")] == [True, False, False]
    assert [reached_decoder(200, b"{}"), reached_decoder(0, b""), reached_decoder(422, b"x")] == [True, False, False]
