"""Keys and quotas: who may ask, how much, and that neither the log nor an answer ever tells a key."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from desed_task.errors import OptionsError
from serving.errors import RequestError
from serving.http.keys import ApiKey, KeyRing, make_key
from serving.http.quotas import Quotas

YARD, OPERATOR = "sed_of-the-yard", "sed_of-the-operator"


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.yaml"
    path.write_text(
        "keys:\n"
        f"  - {{name: yard, sha256: {digest(YARD)}, audio_seconds_per_hour: 15}}\n"
        f"  - {{name: me, sha256: {digest(OPERATOR)}, operator: true}}\n",
        encoding="utf-8",
    )
    return path


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_without_a_key_nothing_but_probes_and_pages_answers(ask_app: Callable[..., None], keys_file: Path) -> None:
    async def story(client: httpx.AsyncClient, app: Any) -> None:
        for path in ("/health/live", "/health/ready", "/docs", "/openapi.json"):
            assert (await client.get(path)).status_code == 200
        wrong: list[dict[str, str]] = [{}, bearer("sed_wrong"), {"X-API-Key": ""}, {"Authorization": "Basic eDp5"}]
        for headers in wrong:
            for method, path in (("POST", "/v1/events"), ("GET", "/v1/models"), ("GET", "/metrics")):
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"].startswith("Bearer ")
                assert answer.json()["code"] in ("key_missing", "key_unknown")
        for headers in (bearer(YARD), {"Authorization": f"bearer  {YARD}"}, {"X-API-Key": YARD}):
            assert (await client.get("/v1/models", headers=headers)).status_code == 200

    ask_app(story, keys_file=keys_file)


def test_only_an_operator_reloads(ask_app: Callable[..., None], keys_file: Path) -> None:
    async def story(client: httpx.AsyncClient, app: Any) -> None:
        for headers, status in ((bearer(YARD), 403), (bearer(OPERATOR), 200)):
            answer = await client.post("/v1/models/tiny/reload", headers=headers)
            assert answer.status_code == status
        assert answer.json()["id"] == "tiny"
        assert (await client.post("/v1/models/none/reload", headers=bearer(OPERATOR))).status_code == 404

    ask_app(story, keys_file=keys_file)


def test_without_keys_nobody_reloads(ask_app: Callable[..., None]) -> None:
    async def story(client: httpx.AsyncClient, app: Any) -> None:
        answer = await client.post("/v1/models/tiny/reload")
        assert (answer.status_code, answer.json()["code"]) == (403, "operator_only")

    ask_app(story)


def test_a_bundle_that_cannot_be_loaded_again_is_said_and_the_old_one_goes_on(
    ask_app: Callable[..., None], keys_file: Path, tiny_bundle: Path, tmp_path: Path, ten_seconds: bytes
) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for file in tiny_bundle.iterdir():
        (bundle / file.name).write_bytes(file.read_bytes())

    async def story(client: httpx.AsyncClient, app: Any) -> None:
        (bundle / "model.onnx").write_bytes(b"broken")
        answer = await client.post("/v1/models/tiny/reload", headers=bearer(OPERATOR))
        assert (answer.status_code, answer.json()["code"]) == (409, "reload_failed")
        assert (await client.post("/v1/tags", content=ten_seconds, headers=bearer(OPERATOR))).status_code == 200

    ask_app(story, keys_file=keys_file, bundle=bundle)


def test_a_key_that_has_used_up_its_audio_waits_as_long_as_it_is_told(
    ask_app: Callable[..., None], keys_file: Path, ten_seconds: bytes
) -> None:
    # 15 s per hour: 10 s, then 10 s more that are owed; 5 s of debt take 5 / 15 of an hour.
    async def story(client: httpx.AsyncClient, app: Any) -> None:
        async def post() -> httpx.Response:
            return await client.post("/v1/tags", content=ten_seconds, headers=bearer(YARD))

        assert [(await post()).status_code for _ in range(2)] == [200, 200]
        refused = await post()
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
        assert 1190 < int(refused.headers["retry-after"]) <= 1201
        assert refused.json()["retry_after"] == int(refused.headers["retry-after"])
        free = await client.post("/v1/tags", content=ten_seconds, headers=bearer(OPERATOR))
        assert free.status_code == 200

    ask_app(story, keys_file=keys_file)


def test_the_log_names_the_key_and_tells_neither_it_nor_the_file(
    ask_app: Callable[..., None], keys_file: Path, ten_seconds: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(client: httpx.AsyncClient, app: Any) -> None:
        files = {"file": ("secret-garden.wav", ten_seconds)}
        await client.post("/v1/tags", files=files, headers={**bearer(YARD), "X-Request-ID": "night-1"})
        await client.post("/v1/secret-path?key=1", headers=bearer(YARD))

    with caplog.at_level(logging.INFO, "serving.requests"):
        ask_app(story, keys_file=keys_file, request_log=True)
    heard, lost = (json.loads(record.getMessage()) for record in caplog.records if record.name == "serving.requests")
    assert (heard["request_id"], heard["route"], heard["status"], heard["key"]) == ("night-1", "/v1/tags", 200, "yard")
    assert heard["bytes"] > len(ten_seconds) and heard["audio_seconds"] == 10.0 and heard["container"] == "WAV"
    assert set(heard["timing"]) == {"queue", "decode", "inference", "total"}
    assert (lost["route"], lost["status"], lost["code"]) == ("unmatched", 404, "not_found")
    for secret in (YARD, digest(YARD), "secret"):
        assert secret not in caplog.text


def bucket(seconds: float) -> ApiKey:
    return ApiKey(name="a", sha256=digest("a"), audio_seconds_per_hour=seconds)


def test_a_bucket_fills_at_its_rate_and_no_further_than_an_hours_worth() -> None:
    now = 0.0
    quotas, key = Quotas(lambda: now), bucket(3600.0)
    quotas.spend(key, 4000.0)
    with pytest.raises(RequestError) as refused:
        quotas.require(key)
    assert refused.value.members["retry_after"] == 400
    now = 399.0
    with pytest.raises(RequestError):
        quotas.require(key)
    now = 400.5
    quotas.require(key)
    now = 100_000.0
    quotas.spend(key, 3600.0)
    with pytest.raises(RequestError):
        quotas.require(key)


def test_a_recording_of_known_length_has_to_fit() -> None:
    now = 0.0
    quotas, key = Quotas(lambda: now), bucket(360.0)
    quotas.spend(key, 300.0)
    quotas.require(key, 60.0)
    with pytest.raises(RequestError) as refused:
        quotas.require(key, 70.0)
    assert refused.value.members["retry_after"] == 100  # 10 s at 0.1 s per second
    now = float(refused.value.members["retry_after"])
    quotas.require(key, 70.0)
    now = 4000.0
    quotas.require(key, 1000.0)  # more than a full bucket: let in when it is full


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keys: []", "keys"),
        ("keys: [{name: a, sha256: short}]", "sha256"),
        (f"keys: [{{name: a, sha256: {'a' * 64}}}, {{name: a, sha256: {'b' * 64}}}]", "name 'a' stands twice"),
        (f"keys: [{{name: a, sha256: {'e' * 64}}}, {{name: b, sha256: {'e' * 64}}}]", "stands twice"),
        (f"keys: [{{name: 'a b', sha256: {'e' * 64}}}]", "name"),
    ],
)
def test_a_file_of_keys_that_cannot_be_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(OptionsError, match=message):
        KeyRing.read(path)


@pytest.mark.parametrize(
    "text",
    [
        "keys: [{{name: a, sha256: {key}}}]",
        "keys: [{{name: a, sha256: hunter2}}]",
        "keys: [{{name: a, key: {key}}}]",
        "keys: [{{name: a, sha256: {key}",
        "{key}: [{{name: a}}]",
    ],
)
def test_a_key_in_the_place_of_its_sum_is_not_told(tmp_path: Path, text: str) -> None:
    path, key = tmp_path / "keys.yaml", "sed_iD3-w1yzMDlSu5UXJ1zlPVRm65c_aO-4l2x9hG8b1mY"
    path.write_text(text.format(key=key), encoding="utf-8")
    with pytest.raises(OptionsError) as refused:
        KeyRing.read(path)
    assert key[4:] not in str(refused.value) and "hunter2" not in str(refused.value)


def test_the_verb_makes_a_key_and_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_key(["yard", "--operator", "--audio-seconds-per-hour", "3600"]) == 0
    printed = capsys.readouterr().out
    (key,) = re.findall(r"this once: (sed_\S{40,})", printed)
    path = tmp_path / "keys.yaml"
    path.write_text("keys:\n" + printed.splitlines()[-1] + "\n", encoding="utf-8")
    found = KeyRing.read(path).require({b"x-api-key": key.encode()})
    assert (found.name, found.operator, found.audio_seconds_per_hour) == ("yard", True, 3600.0)
    assert key not in path.read_text(encoding="utf-8")
    with pytest.raises(OptionsError, match="name"):
        make_key(["a b"])
