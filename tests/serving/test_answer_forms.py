"""The forms of an answer: each is read back by the reader of its format, and is chosen by name or by Accept."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from desed_task.events import Event
from desed_task.formats.audacity import read_labels
from desed_task.formats.dcase import read_strong, read_weak
from desed_task.formats.raven import read_selections
from desed_task.formats.subtitles import read_subtitles
from serving.http.answers import json_answer, json_lines

READERS: dict[str, tuple[str, str, Callable[[Path], list[Event]]]] = {
    "tsv": (".tsv", "text/tab-separated-values", lambda path: list(read_strong(path).of("yard.wav"))),
    "audacity": (".txt", "text/plain", read_labels),
    "raven": (".txt", "text/tab-separated-values", read_selections),
    "srt": (".srt", "application/x-subrip", read_subtitles),
    "vtt": (".vtt", "text/vtt", read_subtitles),
}


@pytest.fixture(scope="module")
def expected(client: httpx.Client, ten_seconds: bytes) -> list[Event]:
    events = client.post("/v1/events", content=ten_seconds).json()["events"]
    assert len(events) == 3
    return [Event(event["onset"], event["offset"], event["label"]) for event in events]


def post(client: httpx.Client, body: bytes, path: str = "/v1/events", **params: Any) -> httpx.Response:
    answer = client.post(path, params=params, files={"file": ("nights/yard.wav", body)})
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("name", READERS)
def test_a_form_is_read_back_by_its_reader(
    client: httpx.Client, ten_seconds: bytes, expected: list[Event], tmp_path: Path, name: str
) -> None:
    suffix, media_type, read = READERS[name]
    answer = post(client, ten_seconds, response_format=name)
    assert answer.headers["content-type"] == f"{media_type}; charset=utf-8"
    (tmp_path / f"found{suffix}").write_bytes(answer.content)
    assert read(tmp_path / f"found{suffix}") == expected
    nothing = post(client, ten_seconds, response_format=name, threshold=1)
    (tmp_path / f"none{suffix}").write_bytes(nothing.content)
    assert read(tmp_path / f"none{suffix}") == []


def test_a_csv_says_who_heard_it(client: httpx.Client, ten_seconds: bytes, expected: list[Event]) -> None:
    rows = list(csv.DictReader(post(client, ten_seconds, response_format="csv").text.splitlines()))
    assert [Event(float(row["onset"]), float(row["offset"]), row["event_label"]) for row in rows] == expected
    assert {(row["filename"], row["model"], row["version"]) for row in rows} == {("yard.wav", "tiny", "1")}
    empty = post(client, ten_seconds, response_format="csv", threshold=1).text
    assert empty == "filename,onset,offset,event_label,score,model,version\n"


def test_lines_of_json_are_the_document(client: httpx.Client, ten_seconds: bytes) -> None:
    answer = post(client, ten_seconds, response_format="ndjson")
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    document = post(client, ten_seconds).json()
    for kind in ("tag", "event"):
        found = [
            {name: value for name, value in line.items() if name != "type"} for line in lines if line["type"] == kind
        ]
        assert found == document[f"{kind}s"]
    assert lines[0]["type"] == "recording" and lines[0]["audio"] == document["audio"]


def test_text_has_a_line_per_event(client: httpx.Client, ten_seconds: bytes) -> None:
    lines = post(client, ten_seconds, response_format="text").text.splitlines()
    assert [line.split() for line in lines][1][:6] == ["1.984", "-", "5.056", "s", "loud", "1.000"]


def test_tags_have_their_own_tables(client: httpx.Client, ten_seconds: bytes, tmp_path: Path) -> None:
    weak = tmp_path / "weak.tsv"
    weak.write_bytes(post(client, ten_seconds, "/v1/tags", response_format="tsv").content)
    assert read_weak(weak) == {"yard.wav": ("loud", "quiet")}
    weak.write_bytes(post(client, ten_seconds, "/v1/tags", response_format="tsv", threshold=0.99).content)
    assert read_weak(weak) == {"yard.wav": ("loud",)}
    rows = list(csv.DictReader(post(client, ten_seconds, "/v1/tags", response_format="csv").text.splitlines()))
    assert [row["label"] for row in rows] == ["loud", "quiet"]
    assert post(client, ten_seconds, "/v1/tags", response_format="text", top_k=1).text == "1.000  loud\n"
    kinds = [
        json.loads(line)["type"]
        for line in post(client, ten_seconds, "/v1/tags", response_format="ndjson").text.splitlines()
    ]
    assert kinds == ["recording", "tag", "tag"]


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("text/csv", "text/csv"),
        ("application/json;q=0.1, text/vtt", "text/vtt"),
        ("text/html, */*;q=0.8", "application/json"),
        ("application/x-ndjson;q=0, application/*", "application/json"),
        ("text/*", "text/plain"),
        ("application/x-subrip;q=x", "application/x-subrip"),
        ("", "application/json"),
    ],
)
def test_accept_chooses(client: httpx.Client, ten_seconds: bytes, accept: str, media_type: str) -> None:
    answer = client.post("/v1/events", content=ten_seconds, headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == media_type
    by_name = client.post("/v1/events?response_format=json", content=ten_seconds, headers={"Accept": accept})
    assert by_name.headers["content-type"] == "application/json"


def test_what_an_answer_cannot_be_is_not_acceptable(client: httpx.Client, ten_seconds: bytes) -> None:
    for path, headers in (
        ("/v1/events", {"Accept": "image/png"}),
        ("/v1/events?response_format=verbose_json", {}),
        ("/v1/tags?response_format=srt", {}),
        ("/v1/tags", {"Accept": "text/vtt"}),
        ("/v1/batch?response_format=csv", {}),
    ):
        files = {"file": ("a.wav", ten_seconds)}
        answer = client.post(path, headers=headers, files=files)
        assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable"), path


def test_a_file_name_cannot_break_a_table(client: httpx.Client, ten_seconds: bytes) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="..\\x\ty\x01/z\t\x7f.wav"\r\n\r\n'
    answer = client.post(
        "/v1/events?response_format=tsv",
        content=part + ten_seconds + b"\r\n--b--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert {line.split("\t")[0] for line in answer.text.splitlines()[1:]} == {"z  .wav"}


@pytest.mark.parametrize("num_events", [0, 1, 1000, 1001, 2500])
def test_many_events_come_in_slices_that_are_one_document(num_events: int) -> None:
    events = [{"label": '"events":[] dog', "onset": n / 10, "offset": n, "score": None} for n in range(num_events)]
    document = {"id": 'a "events":[] b', "tags": [], "events": events, "warnings": ["\ud800", "größer"]}
    answer = json_answer(document)
    text = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
    assert isinstance(answer.body, bytes) == (num_events <= 1000)
    assert json.loads(text)["events"] == events
    assert json.loads(text)["warnings"][1] == "größer"
    lines = [json.loads(line) for piece in json_lines(document) for line in piece.splitlines()]
    assert len(lines) == 1 + num_events


def test_a_form_that_cannot_be_answered_so_is_refused_before_it_is_heard(
    ask_app: Callable[..., None], ten_seconds: bytes
) -> None:
    async def story(client: httpx.AsyncClient, app: Any) -> None:
        files = {"file": ("a.wav", ten_seconds)}
        answer = await client.post("/v1/tags", files=files, data={"response_format": "srt"})
        assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
        assert b"sed_queue_duration_seconds_count 0.0" in (await client.get("/metrics")).content

    ask_app(story)
