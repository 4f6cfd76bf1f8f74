"""The page of options is current; the page on compatibility names options that exist and what compat_2022 sets."""

from __future__ import annotations

import importlib
import pkgutil
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import desed_task
import serving
from desed_task.experiment import SedOptions
from desed_task.options import Options, check_overridden, read_options

COMPAT = "confs/sed/compat_2022.yaml"
OPTION = re.compile(r"`([a-z_]+(?:\.[a-z_0-9]+)+): ([^`]+)`")


@pytest.fixture(scope="module")
def generator(project: Path) -> dict[str, Any]:
    return runpy.run_path(str(project / "docs" / "write_options.py"))


def test_the_page_of_options_is_what_the_code_says(project: Path, generator: dict[str, Any]) -> None:
    written = (project / "docs" / "options.md").read_text(encoding="utf-8")
    assert written == generator["page"](), "docs/options.md is not current: run `make docs`"


def test_a_stale_page_is_noticed(tmp_path: Path, generator: dict[str, Any]) -> None:
    check = generator["main"]
    page = tmp_path / "options.md"
    check.__globals__["PAGE"] = page
    assert check(["--check"]) == 1
    assert check([]) == 0
    assert check(["--check"]) == 0
    page.write_text(page.read_text().replace("Mel bands.", "Bands."))
    assert check(["--check"]) == 1


def test_every_link_of_the_page_leads_to_one_table(project: Path) -> None:
    text = (project / "docs" / "options.md").read_text(encoding="utf-8")
    anchors = re.findall(r'<a id="([^"]+)">', text)
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= set(anchors)
    assert {"detectors-augmentations-mixup", "detectors-training-mean-teacher", "service"} <= set(anchors)


def test_every_public_option_has_a_sentence() -> None:
    for package in (desed_task, serving):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    bare = [
        f"{options.__module__}.{options.__name__}.{key}"
        for options in public(Options)
        for key, info in options.model_fields.items()
        if key != "name" and not (info.description or "").strip()
    ]
    undescribed = [options.__name__ for options in public(Options) if not (options.__doc__ or "").strip()]
    assert not bare, "give these fields a description"
    assert not undescribed


def public(above: type[Options]) -> Iterator[type[Options]]:
    for options in above.__subclasses__():
        if options.__module__.startswith(("desed_task.", "serving.")) and not options.__name__.startswith("_"):
            yield options
        yield from public(options)


def rows(project: Path) -> list[list[str]]:
    """The cells of every row of the table of differences."""
    text = (project / "docs" / "compatibility.md").read_text(encoding="utf-8")
    table = text.partition("## The differences, 2022")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if line[:1] == "|"]
    return [row for row in cells[2:] if len(row) == 4 and row[1].strip("| ")]


def test_every_row_says_how_to_have_it_or_why_not(project: Path) -> None:
    assert len(rows(project)) >= 30
    for published, way, ours, effect in rows(project):
        assert way.startswith(("**set** `", "*default*", "not reproduced: ")), published
        assert ours, published
        assert effect, published


def test_every_option_of_the_table_exists_and_takes_its_value(project: Path) -> None:
    tree = yaml.safe_load(read_options(project / COMPAT, SedOptions).model_dump_json())
    named = [option for row in rows(project) for option in OPTION.findall(row[1])]
    assert len(named) >= 10
    for key, value in named:
        found: Any = tree
        for part in key.split("."):
            assert part in found, f"{key}: no such option"
            found = found[part]
        check_overridden(yaml.safe_load(yaml.safe_dump(tree)), SedOptions, [f"{key}={value}"], "table")


def test_defaults_of_the_table_are_the_defaults(project: Path) -> None:
    tree = yaml.safe_load(read_options(project / "confs/sed/crnn.yaml", SedOptions).model_dump_json())
    for row in rows(project):
        for key, value in OPTION.findall(row[1]) if row[1].startswith("*default*") else []:
            assert flat(tree)[key] == yaml.safe_load(value), key


def test_compat_2022_sets_exactly_what_the_table_says_it_sets(project: Path) -> None:
    conf = yaml.safe_load((project / COMPAT).read_text(encoding="utf-8"))
    assert conf.pop("base") == "crnn.yaml"
    table = {
        key: yaml.safe_load(value)
        for row in rows(project)
        if row[1].startswith("**set**")
        for key, value in OPTION.findall(row[1])
    }
    assert table == flat(conf)


def flat(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return leaves
