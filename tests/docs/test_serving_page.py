"""The page on the service says what the code does, and its commands run as they stand."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from prometheus_client.parser import text_string_to_metric_families

from serving.http.keys import make_key
from serving.http.openapi import ROUTES
from serving.http.queries import ListenParameters
from serving.http.response_formats import EVENT_FORMATS
from serving.metrics import Metrics
from serving.settings import ServingOptions
from serving.settings_sources import CONF_FILE, PORT_FILE, variables

CODE = re.compile(r"""(?:RequestError\(\s*(\d{3}),\s*"([a-z_]+)"|\((4\d\d), "([a-z_]+)", )""")
FRAMEWORK_CODES = {"404": {"not_found"}, "405": {"method_not_allowed"}}


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    return (project / "docs" / "serving.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    found = re.search(rf"^#+ {title}$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_every_refusal_is_in_the_table_and_the_table_has_no_others(page: str, project: Path) -> None:
    told: dict[str, set[str]] = {}
    for line in section(page, "Refusals").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 3 and cells[0][:1].isdigit():
            for status in cells[0].split(", "):
                told.setdefault(status, set()).update(set(re.findall(r"`([a-z_]+)`", cells[1])) - {"limit"})
    raised: dict[str, set[str]] = {status: set(codes) for status, codes in FRAMEWORK_CODES.items()}
    for path in (project / "serving").rglob("*.py"):
        for status, code, head_status, head_code in CODE.findall(path.read_text(encoding="utf-8")):
            raised.setdefault(status or head_status, set()).add(code or head_code)
    together = told.pop("404") | told.pop("405")
    assert together == raised.pop("404") | raised.pop("405")
    assert told == raised


def test_settings_that_are_named_exist_with_the_defaults_that_are_told(page: str) -> None:
    fields = ServingOptions.model_fields
    limits = section(page, "Limits")
    for name in re.findall(r"^\| `([a-z_]+)`", limits, re.MULTILINE):
        assert name in fields, name
    named = {name for name in re.findall(r"`([a-z_]+_[a-z_]+)`", page) if name in fields}
    assert {"max_queue_delay", "drain_grace_seconds", "keys_file", "cors_origins", "max_inflight_bytes"} <= named
    told = {name: float(text) for name, text in re.findall(r"`([a-z_]+_seconds)` \((\d+) s\)", page)}
    assert told.keys() == {"drain_grace_seconds", "drain_seconds", "keep_alive_seconds"}
    for name, seconds in told.items():
        assert fields[name].default == seconds
    for name, text in re.findall(r"^\| `([a-z_]+)` \| (\d+)", limits, re.MULTILINE):
        assert fields[name].default in (int(text), int(text) * 1_000_000), name
    for key in re.findall(r"--set '?([a-z_]+)=", page):
        assert key in fields, key
    for name in re.findall(r"DESED_TASK_SERVING_[A-Z_]+", page):
        assert name in {*variables(ServingOptions), CONF_FILE, PORT_FILE}, name


def test_routes_parameters_forms_and_metrics_are_those_of_the_code(page: str) -> None:
    paths = {route.path for route in ROUTES}
    assert set(re.findall(r"`(?:GET|POST) (/[\w/{}.-]*)`", page)) <= paths
    parameters = section(page, "Ask").partition("### Parameters")[2].partition("###")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", parameters, re.MULTILINE)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(ListenParameters.model_fields)
    forms = re.search(r"Other forms of events: (.*?);", page)
    assert forms is not None and {"json", *re.findall(r"`(\w+)`", forms[1])} == set(EVENT_FORMATS)
    families = {family.name for family in text_string_to_metric_families(Metrics().text().decode())}
    ours = {name for name in families if name.startswith("sed_")}
    assert {name.removesuffix("_total") for name in re.findall(r"`(sed_\w+)", section(page, "What it tells"))} == ours


def test_links_lead_somewhere(page: str, project: Path) -> None:
    for link, _, anchor in re.findall(r"\]\((?!http)([^)#]+)(#([^)]+))?\)", page):
        target = project / "docs" / link
        assert target.exists(), link
        assert not anchor or f'<a id="{anchor}"></a>' in target.read_text(encoding="utf-8"), anchor


# Commands, as they stand, but for the address.


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory, page: str) -> tuple[Path, str]:
    """A file of keys as the page has it, with an operator's key that `desed-task key` made; the key."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert make_key(["me", "--operator"]) == 0
    key, line = re.findall(r"(sed_\S+)|  (- \{.*\})", printed.getvalue())
    (example,) = [block for block in blocks(page, "yaml") if block.startswith("keys:")]
    path = tmp_path_factory.mktemp("keys") / "keys.yaml"
    path.write_text(f"{example}  {line[1]}\n", encoding="utf-8")
    return path, key[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    samples = (0.5 * np.sin(np.arange(16000) / 6)).astype(np.float32)
    soundfile.write(folder / "yard.flac", samples, 16000)
    soundfile.write(folder / "yard.wav", samples, 16000)
    (folder / "yard.pcm").write_bytes((samples * 32767).astype("<i2").tobytes())
    return folder


class Service:
    """The server of the page, and the environment that its commands run in."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path, key: str) -> None:
        self.process, self.port, self.folder, self.key = process, port, folder, key
        self.headers = {"Authorization": f"Bearer {key}"}
        self.url = f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def service(tiny_bundle: Path, keys: tuple[Path, str], folder: Path, project: Path) -> Iterator[Service]:
    (folder / "bundles").mkdir()
    for name in ("yard", "dogs", "birds"):
        shutil.copytree(tiny_bundle, folder / "bundles" / name)
    port_file = folder / "port"
    environment = {**os.environ, PORT_FILE: str(port_file), "DESED_TASK_SERVING_PORT": "0", "PYTHONPATH": str(project)}
    command = [sys.executable, "-m", "serving", "--bundle", "bundles/yard", "--device", "cpu", "--set", "num_threads=1"]
    models = ["--set", "models={dogs: bundles/dogs, birds: bundles/birds}", "--set", f"keys_file={keys[0]}"]
    with subprocess.Popen([*command, *models], cwd=folder, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while not port_file.exists():
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            yield Service(process, int(port_file.read_text()), folder, keys[1])
        finally:
            process.kill()


def test_every_curl_command_is_answered(page: str, service: Service) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    lines = [line for block in blocks(page, "bash") for line in block.splitlines() if line.startswith("curl ")]
    assert len(lines) >= 8
    for line in lines:
        # With a key, which the page's first server does not ask for; a refusal is an error.
        typed = line.replace("localhost:8000", f"127.0.0.1:{service.port}")
        key = '--header "X-API-Key: $OPERATOR"' if "Authorization" not in line else ""
        done = subprocess.run(
            ["bash", "-c", f"{curl} --silent --show-error --fail-with-body {key} {typed.removeprefix('curl ')}"],
            cwd=service.folder,
            env={**os.environ, "OPERATOR": service.key},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)


def test_the_program_runs(page: str, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = blocks(page, "python")
    typed = program.replace("http://localhost:8000", service.url).replace("key=None", f"key={service.key!r}")
    typed = typed.replace('{"dog": 0.4}', '{"loud": 0.4}').replace(
        '"yard.flac"', repr(str(service.folder / "yard.flac"))
    )
    exec(compile(typed, "serving.md", "exec"), {})
    assert re.search(r"^\d+\.\d\d - \d+\.\d\d s  loud  \d\.\d\d$", capsys.readouterr().out, re.MULTILINE)


def test_a_key_is_asked_for_where_the_page_says_so(service: Service) -> None:
    with httpx.Client(base_url=service.url, timeout=30) as client:
        assert [client.get(path).status_code for path in ("/health/live", "/health/ready", "/docs")] == [200] * 3
        assert [client.get(path).status_code for path in ("/v1/models", "/metrics")] == [401] * 2
        models = client.get("/v1/models", headers=service.headers).json()["models"]
    assert [model["id"] for model in models] == ["tiny", "dogs", "birds"]


def test_sighup_reads_every_bundle_again(service: Service) -> None:
    for name in ("yard", "birds"):
        manifest = service.folder / "bundles" / name / "bundle.json"
        manifest.write_text(manifest.read_text().replace('"version": "1"', '"version": "2"'))
    service.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 30
    versions: list[str] = []
    while versions != ["2", "1", "2"]:
        assert time.monotonic() < deadline, versions
        models = httpx.get(f"{service.url}/v1/models", headers=service.headers, timeout=30).json()["models"]
        versions = [model["version"] for model in models]
        time.sleep(0.1)
