"""The benchmark of hostile bodies: what it sends, how it judges, and, slowly and in small, its rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import serving_hostile
from benchmarks.hostile.corpus import RAW, HostileFile
from benchmarks.hostile.large_bodies import large_bodies
from benchmarks.hostile.torment import PATHS, corpus_requests, faults_of, mutation, mutation_requests
from benchmarks.hostile.whole_files import whole_files
from benchmarks.load_answers import CLOSED, Answer

OK = Answer("clip", 0.0, 0.0, 1.0, 200, body=b"{}", content_type="application/json")


def test_a_mutation_can_be_made_again_by_its_name() -> None:
    requests = list(mutation_requests(7, seed=4))
    assert [request.kind for request in requests] == [f"mutation 4.{index}" for index in range(7)]
    assert all(requests[index].content.endswith(mutation(4, index)) for index in range(7))
    assert len({request.content for request in requests}) == 7
    assert {request.content.split()[1].decode() for request in requests} == set(PATHS)


def test_a_file_is_sent_as_what_it_is() -> None:
    (request,) = corpus_requests([HostileFile("a", b"abc", "audio/pcm;rate=8000")], "/v1/tags")
    assert request.kind == "a /v1/tags"
    assert b"Content-Type: audio/pcm;rate=8000\r\nContent-Length: 3\r\n\r\nabc" in request.content


def test_faults_are_told_by_the_names_of_their_requests() -> None:
    answers = [OK, OK._replace(kind="x", status=500), OK._replace(kind="y", status=0, fault=CLOSED)]
    assert faults_of(answers) == ["x: status 500: {}", "y: no answer closed"]


def test_large_bodies_are_as_large_as_an_upload_may_be() -> None:
    files = large_bodies(200_000)
    assert len({file.name for file in files}) == len(files) > 20
    assert all(len(file.content) <= 200_000 for file in files)
    # FLAC makes noise no smaller, but a third of the samples is left out so that it fits.
    assert sorted(len(file.content) for file in files)[2] > 100_000


def test_the_server_that_calls_soundfile_fails_where_we_know_it(tmp_path: Path) -> None:
    whole = whole_files()["wav pcm16"]
    flac = whole_files()["flac pcm16"]
    bomb = flac[:21] + bytes([flac[21] | 0x0F]) + b"\xff\xff\xff\xff" + flac[26:]  # claims 2^36 - 1 samples
    bodies = {"whole": whole, "text": b"woof", "claims 256 GiB": bomb, "whole again": whole}
    script = Path(serving_hostile.__file__).parent / "serving_peers" / "with_soundfile.py"
    command = [sys.executable, str(script), "--port_file", "{port_file}"]
    files = [HostileFile(name, content, RAW) for name, content in bodies.items()]
    outcomes, restarts = serving_hostile._survived(command, tmp_path, files)
    assert outcomes == ["200", "422", "500", "200"]
    assert restarts == 0


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_every_row_is_whole(isolation: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    assert serving_hostile.main(["--size", "small", "--isolation", isolation, "--json", str(path)]) == 0
    rows = {row["name"]: row for row in json.loads(path.read_text(encoding="utf-8"))}
    assert rows["hostile requests"]["value"] >= 600
    for name in ("hostile faults", "hostile deaths", "hostile clips", "hostile memory", "hostile decoders"):
        assert rows[name]["met"], rows[name]
    assert rows["hostile soundfile"]["value"] == 0
    assert rows["hostile soundfile"]["peer_value"] >= 1
    assert {row["isolation"] for row in rows.values()} == {isolation}
