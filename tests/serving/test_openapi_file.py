"""docs/openapi.json is what the routes say, and what would break a client of it is found."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from desed_task.errors import DesedTaskError
from serving.http.compatibility import breaking_changes
from serving.http.openapi import ROUTES, build_openapi, write_openapi

Tree = dict[str, Any]


@pytest.fixture(scope="module")
def committed(project: Path) -> Tree:
    tree: Tree = json.loads((project / "docs" / "openapi.json").read_text(encoding="utf-8"))
    return tree


def test_the_file_is_what_the_routes_say(committed: Tree, client: httpx.Client) -> None:
    assert committed == json.loads(json.dumps(build_openapi())), (
        "run python -m serving.http.openapi --output docs/openapi.json"
    )
    assert client.get("/openapi.json").json() == committed


def test_nothing_breaks_a_client_of_the_file(committed: Tree) -> None:
    assert breaking_changes(committed, build_openapi()) == []


def test_every_reference_leads_somewhere(committed: Tree) -> None:
    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if "$ref" in node else set()
            return own.union(*(references(value) for value in node.values()))
        return set().union(*(references(value) for value in node)) if isinstance(node, list) else set()

    names = {reference.removeprefix("#/components/schemas/") for reference in references(committed)}
    assert names <= set(committed["components"]["schemas"])


def test_every_route_but_pages_is_described(committed: Tree) -> None:
    undescribed = {route.path for route in ROUTES if not route.operation}
    assert undescribed == {
        "/",
        "/docs",
        "/docs/start.js",
        "/docs/swagger-ui-bundle.js",
        "/docs/swagger-ui.css",
        "/openapi.json",
    }
    ids = [operation["operationId"] for path in committed["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids)) == len(ROUTES) - len(undescribed)


def events(tree: Tree) -> Tree:
    operation: Tree = tree["paths"]["/v1/events"]["post"]
    return operation


def parameter(tree: Tree, name: str) -> Tree:
    found: Tree = next(one for one in events(tree)["parameters"] if one["name"] == name)
    return found


def schema(tree: Tree, name: str) -> Tree:
    found: Tree = tree["components"]["schemas"][name]
    return found


def form(tree: Tree) -> Tree:
    found: Tree = events(tree)["requestBody"]["content"]["multipart/form-data"]["schema"]
    return found


BREAKING: dict[str, tuple[Callable[[Tree], object], str]] = {
    "a path": (lambda tree: tree["paths"].pop("/v1/tags"), "POST /v1/tags is gone"),
    "a method": (lambda tree: tree["paths"]["/v1/models"].pop("get"), "GET /v1/models is gone"),
    "a parameter": (
        lambda tree: events(tree)["parameters"].remove(parameter(tree, "top_k")),
        "parameter top_k is gone",
    ),
    "a parameter required": (lambda tree: parameter(tree, "model").update(required=True), "model is newly required"),
    "a new required parameter": (
        lambda tree: events(tree)["parameters"].append({"name": "x", "in": "query", "required": True, "schema": {}}),
        "parameter x is newly required",
    ),
    "a bound": (lambda tree: parameter(tree, "threshold")["schema"].update(minimum=0.1), "minimum is now 0.1"),
    "an upper bound": (lambda tree: parameter(tree, "top_k")["schema"].update(maximum=5), "maximum is now 5"),
    "a narrower type": (
        lambda tree: parameter(tree, "threshold")["schema"].update(type="integer"),
        "takes integer only",
    ),
    "a value": (lambda tree: parameter(tree, "response_format")["schema"]["enum"].remove("raven"), "raven"),
    "a list of values": (lambda tree: parameter(tree, "model")["schema"].update(enum=["a"]), "every value"),
    "a pattern": (lambda tree: parameter(tree, "model")["schema"].update(pattern="^a"), "another pattern"),
    "a media type taken": (
        lambda tree: events(tree)["requestBody"]["content"].pop("application/octet-stream"),
        "application/octet-stream is not taken",
    ),
    "a field of a form": (lambda tree: form(tree)["properties"].pop("labels"), "body: labels is gone"),
    "a field required": (lambda tree: form(tree)["required"].append("model"), "model is newly required"),
    "a status": (lambda tree: events(tree)["responses"].pop("429"), "status 429 is gone"),
    "a media type given": (lambda tree: events(tree)["responses"]["200"]["content"].pop("text/vtt"), "as text/vtt"),
    "a member": (lambda tree: schema(tree, "EventsAnswer")["properties"].pop("tags"), "200: tags is gone"),
    "a member of a member": (lambda tree: schema(tree, "Timing")["properties"].pop("queue"), "timing: queue is gone"),
    "a member of a list": (
        lambda tree: schema(tree, "DetectedEvent")["properties"].pop("onset"),
        "events[]: onset is gone",
    ),
    "a member of what may be null": (
        lambda tree: schema(tree, "Frames")["properties"].pop("hop"),
        "frames: hop is gone",
    ),
    "a member that may be missing": (
        lambda tree: schema(tree, "EventsAnswer")["required"].remove("events"),
        "events may be missing",
    ),
    "a member of another type": (
        lambda tree: schema(tree, "AudioDescription")["properties"]["channels"].update(type="string"),
        "audio.channels may be string",
    ),
    "a member that may be null": (
        lambda tree: schema(tree, "Tag")["properties"].update(score={"anyOf": [{"type": "number"}, {"type": "null"}]}),
        "tags[].score may be",
    ),
    "a member of a problem": (lambda tree: schema(tree, "Problem")["properties"].pop("code"), "code is gone"),
}
HARMLESS: dict[str, Callable[[Tree], object]] = {
    "nothing": lambda tree: None,
    "a new path": lambda tree: tree["paths"].update({"/v2": tree["paths"]["/v1/tags"]}),
    "a new parameter": lambda tree: events(tree)["parameters"].append({"name": "x", "in": "query", "schema": {}}),
    "a wider bound": lambda tree: parameter(tree, "threshold")["schema"].update(maximum=2),
    "no bound": lambda tree: parameter(tree, "threshold")["schema"].pop("maximum"),
    "a wider type": lambda tree: parameter(tree, "top_k")["schema"].update(type=["integer", "string"]),
    "a new value taken": lambda tree: parameter(tree, "response_format")["schema"]["enum"].append("jams"),
    "a new status": lambda tree: events(tree)["responses"].update({"418": {"description": ""}}),
    "a new member": lambda tree: schema(tree, "EventsAnswer")["properties"].update(more={"type": "string"}),
    "another description": lambda tree: parameter(tree, "model").update(description="x"),
    "an integer for a number": lambda tree: schema(tree, "Tag")["properties"]["score"].update(type="integer"),
    "a description moved": lambda tree: schema(tree, "Tag").pop("description"),
}


@pytest.mark.parametrize("name", BREAKING)
def test_a_breaking_change_is_found(committed: Tree, name: str) -> None:
    change, sentence = BREAKING[name]
    candidate = copy.deepcopy(committed)
    change(candidate)
    found = breaking_changes(committed, candidate)
    assert found and any(sentence in one for one in found), found


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_adds_breaks_nothing(committed: Tree, name: str) -> None:
    candidate = copy.deepcopy(committed)
    HARMLESS[name](candidate)
    assert breaking_changes(committed, candidate) == []


def test_the_command_does_not_write_over_what_clients_rely_on(committed: Tree, tmp_path: Path) -> None:
    file = tmp_path / "openapi.json"
    older = copy.deepcopy(committed)
    older["paths"]["/v0"] = older["paths"]["/v1/tags"]
    file.write_text(json.dumps(older), encoding="utf-8")
    with pytest.raises(DesedTaskError, match="POST /v0 is gone"):
        write_openapi(["--output", str(file)])
    assert json.loads(file.read_text(encoding="utf-8")) == older
    assert write_openapi(["--output", str(file), "--breaking"]) == 0
    assert json.loads(file.read_text(encoding="utf-8")) == committed
    assert write_openapi(["--output", str(tmp_path / "new.json")]) == 0
