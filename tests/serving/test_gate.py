"""The gate in front of the routes: ids, methods, origins, metrics, and one shape of refusals for the framework too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import HTTPException

HTML = {"Origin": "https://yard.example"}


def test_a_path_with_an_id_has_methods_too(client: httpx.Client) -> None:
    answer = client.delete("/v1/models/tiny")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert client.get("/v1/models/tiny/reload").headers["allow"] == "POST"
    assert client.get("/v1/models/{id}").json()["code"] == "unknown_model"
    assert client.get("/v1/models/a%2Fb").json()["detail"].startswith("no model 'a/b'")
    assert client.get("/v1/models/").json()["code"] == "not_found"


def test_what_can_be_read_has_a_head(client: httpx.Client) -> None:
    for path in ("/health/live", "/v1/models", "/docs"):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["content-length"]) == len(client.get(path).content)


def test_metrics_know_templates_and_never_paths(client: httpx.Client) -> None:
    client.get("/v1/models/tiny")
    client.get("/a/secret/path")
    client.request("PROPFIND", "/v1/events")
    text = client.get("/metrics").text
    assert 'route="/v1/models/{id}",status="200"' in text
    assert 'route="unmatched",status="404"' in text and "secret" not in text
    assert 'method="other",route="/v1/events",status="405"' in text


def test_what_the_framework_refuses_is_a_problem_too(ask_app: Callable[..., None]) -> None:
    async def story(client: httpx.AsyncClient, app: Any) -> None:
        async def number(value: int) -> int:
            if value == 0:
                raise ZeroDivisionError("secret")
            raise HTTPException(status_code=409, detail="taken")

        app.get("/further/{value}")(number)
        for path, status, code in (
            ("/further/x", 422, "bad_parameter"),
            ("/further/1", 409, "refused"),
            ("/further/0", 500, "internal_error"),
            ("/nothing", 404, "not_found"),
        ):
            answer = await client.get(path)
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json()
            assert (answer.status_code, problem["code"], problem["instance"]) == (status, code, path)
            assert problem["request_id"] == answer.headers["x-request-id"]
            assert "secret" not in answer.text
        refused = await client.post("/further/1")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET")

    ask_app(story)


def test_pages_of_other_origins_are_told_nothing_by_default(client: httpx.Client) -> None:
    answer = client.get("/health/live", headers=HTML)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    asked = client.options("/v1/events", headers={**HTML, "Access-Control-Request-Method": "POST"})
    assert asked.status_code == 405


def test_pages_of_named_origins_may_ask(ask_app: Callable[..., None], ten_seconds: bytes) -> None:
    async def story(client: httpx.AsyncClient, app: Any) -> None:
        asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        asked = await client.options("/v1/events", headers={**HTML, **asking})
        assert (asked.status_code, asked.content) == (204, b"")
        assert asked.headers["access-control-allow-origin"] == "https://yard.example"
        assert "POST" in asked.headers["access-control-allow-methods"]
        assert "authorization" in asked.headers["access-control-allow-headers"].lower()
        for answer in (
            await client.post("/v1/tags", content=ten_seconds, headers=HTML),
            await client.post("/v1/tags?top_k=0", headers=HTML),
            await client.get("/nothing", headers=HTML),
        ):
            assert answer.headers["access-control-allow-origin"] == "https://yard.example"
            assert answer.headers["vary"] == "Origin"
        for other in ("https://evil.example", "null"):
            refused = await client.options("/v1/events", headers={"Origin": other, **asking})
            assert (refused.status_code, refused.json()["code"]) == (403, "origin_not_allowed")
            answer = await client.get("/health/live", headers={"Origin": other})
            assert "access-control-allow-origin" not in answer.headers

    ask_app(story, cors_origins=("https://yard.example",))


@pytest.mark.parametrize("body", [b"x" * 10, b""])
def test_a_bug_is_told_in_no_detail(
    ask_app: Callable[..., None], monkeypatch: pytest.MonkeyPatch, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(client: httpx.AsyncClient, app: Any) -> None:
        async def broken(*arguments: object) -> None:
            raise ZeroDivisionError("of /a/secret/file")

        monkeypatch.setattr(app.state.engine, "listen", broken)
        answer = await client.post("/v1/events", content=body)
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert "secret" not in answer.text

    ask_app(story)
    assert "of /a/secret/file" in caplog.text  # for the operator
