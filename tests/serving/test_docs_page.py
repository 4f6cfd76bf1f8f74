"""/docs works without a network: everything is of this origin, and a browser that knows no other shows it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


def test_the_way_leads_to_the_page(client: httpx.Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "docs")
    assert client.get("/", follow_redirects=True).url.path == "/docs"


def test_the_page_may_load_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/docs")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'" and policy["object-src"] == "'none'"
    # data: is inside the style sheet, not in a network
    assert set(" ".join(policy.values()).split()) <= {"'self'", "'none'", "data:"}
    assert "<script>" not in page.text and "style=" not in page.text and "//" not in page.text


def test_what_the_page_names_is_there(client: httpx.Client) -> None:
    names = re.findall(r'(?:src|href)="(docs/[^"]+)"', client.get("/docs").text)
    assert len(names) == 3
    for name in names:
        answer = client.get(f"/{name}")
        kind = "text/css" if name.endswith("css") else "text/javascript"
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
    assert client.get("/docs/none.js").status_code == 404


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here to show the page")
def test_a_browser_without_a_network_shows_the_interface(server: Any, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    # Whatever is not of this server is a name that cannot be resolved, and would be in the log.
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
    ]
    flags += [
        "--no-first-run",
        f"--user-data-dir={tmp_path}",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    ]
    flags += ["--enable-logging=stderr", "--virtual-time-budget=20000", "--timeout=60000"]
    ran = subprocess.run(
        [CHROMIUM, *flags, "--dump-dom", f"{server.url}/docs"], check=False, capture_output=True, text=True, timeout=240
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert 'class="swagger-ui"' in ran.stdout
    for path in ("/v1/events", "/v1/batch", "/v1/models/{id}"):
        assert f'data-path="{path}"' in ran.stdout
    assert "Content Security Policy" not in ran.stderr and "ERR_NAME_NOT_RESOLVED" not in ran.stderr
