"""Options: a conf is read, merged, checked and frozen before anything starts.

A conf is YAML. `base: other.yaml` (relative to the file it stands in) inherits every key of another conf; mappings are
merged, anything else is replaced. `--set a.b=c` replaces one key, its value read as YAML. `${here}` in a value is the
folder of the file it stands in; other relative paths are relative to the current folder.

Sections are `Options` classes that live beside the thing they configure. Unknown keys, wrong types and contradictory
values are refused with file, key, value and remedy: a misspelt key must fail, since a silently ignored one costs a
training (the published 2024 conf sets `rnn_layers`, which nothing reads).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from desed_task.errors import OptionsError


class Options(BaseModel):
    """Base of every options class: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


OptionsType = TypeVar("OptionsType", bound=Options)
_KeyPath = tuple[str, ...]


class _ConfLoader(yaml.SafeLoader):
    """YAML with two repairs: 1e-3 is a number, and a key written twice is refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise OptionsError(f"{self.name}: key {key!r} stands twice (line {key_node.start_mark.line + 1})")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_ConfLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def read_options(
    path: Path, options_class: type[OptionsType], overrides: Sequence[str] = ()
) -> OptionsType:
    """Read the conf at `path`, apply `overrides` ("a.b=c"), check the whole. OptionsError on the first fault."""
    tree, origins = _read_tree(path, ())
    for override in overrides:
        _override(tree, origins, override)
    return check_options(tree, options_class, origins, default_origin=str(path))


def check_options(
    tree: Mapping[str, Any],
    options_class: type[OptionsType],
    origins: Mapping[_KeyPath, str] | None = None,
    default_origin: str = "options",
) -> OptionsType:
    """Check a tree of plain values against `options_class`; OptionsError names origin, key, value and remedy."""
    try:
        # JSON semantics: a list may become a tuple and a string a Path, but "12" never becomes 12.
        return options_class.model_validate_json(json.dumps(tree), strict=True)
    except TypeError as error:
        raise OptionsError(f"{default_origin}: {error}; quote dates and other special values") from None
    except ValidationError as error:
        first = _worst_first(error)[0]
        raise OptionsError(_sentence(first, tree, options_class, origins or {}, default_origin)) from None


def write_options(options: Options, path: Path) -> None:
    """Write the resolved options as YAML that `read_options` reads back to the same."""
    path.write_text(yaml.safe_dump(json.loads(options.model_dump_json()), sort_keys=False), encoding="utf-8")


def _read_tree(path: Path, including: tuple[Path, ...]) -> tuple[dict[str, Any], dict[_KeyPath, str]]:
    resolved = path.resolve()
    if resolved in including:
        raise OptionsError(f"{path}: `base` leads back to itself ({' -> '.join(p.name for p in (*including, resolved))})")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise OptionsError(f"{path}: no such conf") from None
    except (OSError, UnicodeDecodeError) as error:
        raise OptionsError(f"{path}: cannot be read as text ({error})") from None
    text = text.replace("${here}", str(resolved.parent))
    loader = _ConfLoader(text)
    loader.name = str(path)
    try:
        tree = loader.get_single_data()
    except yaml.YAMLError as error:
        raise OptionsError(f"{path}: not valid YAML: {_one_line(error)}") from None
    finally:
        loader.dispose()
    if tree is None:
        raise OptionsError(f"{path}: the conf is empty")
    if not isinstance(tree, dict):
        raise OptionsError(f"{path}: a conf is a mapping of keys to values, this is a {type(tree).__name__}")
    base = tree.pop("base", None)
    origins = {key: str(path) for key in _leaf_keys(tree)}
    if base is None:
        return tree, origins
    if not isinstance(base, str):
        raise OptionsError(f"{path}: base: {base!r} is not a file name")
    base_tree, base_origins = _read_tree(path.parent / base, (*including, resolved))
    return _merge(base_tree, tree), {**base_origins, **origins}


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        # A section that names another variant starts afresh: keys of one model mean nothing to the next.
        same_variant = isinstance(old, dict) and isinstance(value, dict) and (
            "name" not in value or value["name"] == old.get("name")
        )
        merged[key] = _merge(old, value) if same_variant else value  # type: ignore[arg-type]
    return merged


def _override(tree: dict[str, Any], origins: dict[_KeyPath, str], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise OptionsError(f"--set {override}: write it as a.b=value")
    path = tuple(key.strip().split("."))
    loader = _ConfLoader(text)
    loader.name = f"--set {override}"
    try:
        value = loader.get_single_data()
    except yaml.YAMLError as error:
        raise OptionsError(f"--set {override}: the value is not valid YAML: {_one_line(error)}") from None
    finally:
        loader.dispose()
    node: Any = tree
    for depth, part in enumerate(path[:-1]):
        if isinstance(node, list):
            node = node[_list_position(node, part, override)]
            continue
        if not isinstance(node.setdefault(part, {}), (dict, list)):
            raise OptionsError(f"--set {override}: {'.'.join(path[: depth + 1])} is a value, not a section")
        node = node[part]
    if isinstance(node, list):
        node[_list_position(node, path[-1], override)] = value
    else:
        node[path[-1]] = value
    origins[path] = "--set"


def _list_position(values: list[Any], part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(values):
        raise OptionsError(f"--set {override}: {part!r} is not a position in a list of {len(values)} (from 0)")
    return int(part)


def _leaf_keys(tree: Mapping[str, Any], prefix: _KeyPath = ()) -> Iterator[_KeyPath]:
    for key, value in tree.items():
        yield (*prefix, str(key))
        if isinstance(value, dict):
            yield from _leaf_keys(value, (*prefix, str(key)))


def _worst_first(error: ValidationError) -> list[Any]:
    """Unknown keys before the rest: they explain a "missing" key next to them."""
    return sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")


def _sentence(
    fault: Mapping[str, Any],
    tree: Mapping[str, Any],
    options_class: type[Options],
    origins: Mapping[_KeyPath, str],
    default_origin: str,
) -> str:
    location = _conf_path(fault["loc"], tree)
    key = ".".join(location) or "the conf"
    origin = next(
        (origins[location[:depth]] for depth in range(len(location), 0, -1) if location[:depth] in origins),
        default_origin,
    )
    value = _shorten(fault["input"])
    if fault["type"] == "extra_forbidden":
        return f"{origin}: {key}: unknown key (value {value}){_suggestion(fault, options_class)}"
    if fault["type"] == "missing":
        return f"{origin}: {key}: missing; add it"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if fault["type"] == "value_error":
        return f"{origin}: {key}: {message}"
    return f"{origin}: {key}: {message[:1].lower()}{message[1:]}, got {value}"


def _conf_path(location: Sequence[str | int], tree: Any) -> _KeyPath:
    """The fault's location without the parts that pydantic adds for the variant of a union."""
    path: list[str] = []
    node = tree
    for position, part in enumerate(location):
        if isinstance(node, Mapping) and part in node:
            node = node[part]
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
        elif position != len(location) - 1:
            continue
        path.append(str(part))
    return tuple(path)


def _suggestion(fault: Mapping[str, Any], options_class: type[Options]) -> str:
    known = sorted(_all_keys(options_class.model_json_schema()))
    close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else "; remove it"


def _all_keys(schema: Mapping[str, Any]) -> set[str]:
    sections = [schema, *schema.get("$defs", {}).values()]
    return {key for section in sections for key in section.get("properties", {})}


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())
