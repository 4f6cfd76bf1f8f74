"""The Dockerfile, as far as it can be checked without Docker: its stages, what it copies, installs, sets and asks."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from serving.settings import ServingOptions
from serving.settings_sources import variables


class Stage(NamedTuple):
    """One stage: what it is built from, and its instructions."""

    base: str
    instructions: list[tuple[str, str]]


@pytest.fixture(scope="module")
def stages(project: Path) -> dict[str, Stage]:
    text = (project / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, Stage] = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if not line.strip() or line.startswith("#"):
            continue
        if word == "FROM":
            base, _, name = rest.split()
            found[name] = Stage(base, [])
        else:
            list(found.values())[-1].instructions.append((word, rest.strip()))
    return found


def lineage(stages: dict[str, Stage], name: str) -> list[tuple[str, str]]:
    """Everything that holds in a stage, that of its bases first."""
    stage = stages[name]
    return [*(lineage(stages, stage.base) if stage.base in stages else []), *stage.instructions]


def arguments(stages: dict[str, Stage], name: str, word: str) -> list[str]:
    return [rest for instruction, rest in lineage(stages, name) if instruction == word]


def test_there_are_two_images_and_the_one_for_processors_is_built_when_none_is_named(stages: dict[str, Stage]) -> None:
    assert list(stages)[-1] == "cpu" and "cuda" in stages
    outside = {stage.base for stage in stages.values()} - stages.keys()
    assert outside == {"python:3.12-slim"}


@pytest.mark.parametrize("image", ["cpu", "cuda"])
def test_an_image_runs_the_service_as_nobody_in_particular(stages: dict[str, Stage], image: str) -> None:
    (entry,) = arguments(stages, image, "ENTRYPOINT")
    assert json.loads(entry) == ["desed-task", "serve"]
    assert arguments(stages, image, "USER") == ["10001"]
    assert arguments(stages, image, "STOPSIGNAL") == ["SIGTERM"]
    copied = [words.split() for words in arguments(stages, image, "COPY")]
    assert [words[1:] for words in copied] == [["/opt/service", "/opt/service"]]
    assert copied[0][0].removeprefix("--from=") in stages


def test_what_is_copied_is_in_the_repository_and_reaches_the_builder(stages: dict[str, Stage], project: Path) -> None:
    sources = {
        source
        for stage in stages.values()
        for word, rest in stage.instructions
        if word == "COPY" and not rest.startswith("--from=")
        for source in rest.split()[:-1]
    }
    assert {"pyproject.toml", "constraints.txt", "serving", "desed_task"} <= sources
    kept = {line[1:] for line in (project / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((project / source).exists() for source in sources)
    assert sources == kept


def test_what_is_installed_is_an_extra_of_ours_without_torch(stages: dict[str, Stage], project: Path) -> None:
    extras = tomllib.loads((project / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for image in ("build", "build-cuda"):
        commands = [shlex.split(rest) for rest in arguments(stages, image, "RUN")]
        installed = [command[-1] for command in commands if command[:2] == ["pip", "install"]]
        named = {extra for target in installed if target.startswith(".[") for extra in target[2:-1].split(",")}
        assert named == {"serve", "trace"} <= extras.keys()
        assert all("constraints.txt" in command for command in commands if command[:2] == ["pip", "install"])
    assert not any(package.startswith(("torch", "pandas")) for extra in ("serve", "trace") for package in extras[extra])


@pytest.mark.parametrize("image", ["cpu", "cuda"])
def test_variables_of_an_image_are_settings(stages: dict[str, Stage], image: str) -> None:
    pairs = [pair.partition("=") for rest in arguments(stages, image, "ENV") for pair in shlex.split(rest)]
    settings = {name: value for name, _, value in pairs if name.startswith("DESED_TASK_SERVING_")}
    assert settings.keys() <= set(variables(ServingOptions))
    assert settings["DESED_TASK_SERVING_HOST"] == "0.0.0.0"
    assert settings["DESED_TASK_SERVING_DEVICE"] == {"cpu": "cpu", "cuda": "cuda:0"}[image]
    assert arguments(stages, image, "EXPOSE") == [settings["DESED_TASK_SERVING_PORT"]]


@pytest.mark.parametrize(("status", "exit_code"), [(200, 0), (503, 1)])
def test_the_health_check_asks_whether_it_is_ready(stages: dict[str, Stage], status: int, exit_code: int) -> None:
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    (check,) = arguments(stages, "cpu", "HEALTHCHECK")
    command = json.loads(check.partition(" CMD ")[2])
    assert command[0] == "python"
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        environment = {"DESED_TASK_SERVING_PORT": str(server.server_port)}
        done = subprocess.run([sys.executable, *command[1:]], env=environment, capture_output=True, check=False)
        thread.join()
    assert (asked, done.returncode) == (["/health/ready"], exit_code)
