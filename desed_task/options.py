"""Options: a conf is read, merged, checked and frozen before anything starts.

A conf is YAML. `base: other.yaml` (relative to the file it stands in) inherits every key of another conf; mappings are
merged, anything else is replaced. Of several bases, `base: [a.yaml, b.yaml]`, each goes over those before it. Where a
base has a list, a mapping from positions reaches into it: `train: {"0": {batch_size: 6}}`. `--set a.b=c` replaces one
key, its value read as YAML; `--set a.0.b=c` reaches into a list. `${here}` in a value is the folder of the file it
stands in; other relative paths are relative to the current folder. Plain words are read as in YAML 1.2: true and false
are the only booleans, so a class may be called `no`.

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
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from desed_task.errors import DesedTaskError, OptionsError


class Options(BaseModel):
    """Base of every options class: frozen, unknown keys and numbers that are not finite are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @classmethod
    def completed(cls, tree: Mapping[str, Any]) -> Mapping[str, Any]:
        """A whole conf with what it need not say; a validator before the checks would lose JSON's rules for them."""
        return tree


OptionsType = TypeVar("OptionsType", bound=Options)
_KeyPath = tuple[str, ...]
_Schema = Mapping[str, Any]


class Override(NamedTuple):
    """A value of one key, not from a conf. text: as YAML; origin: where it is from; words: as it was written."""

    key: _KeyPath
    text: str
    origin: str
    words: str


_YAML_TAG = "tag:yaml.org,2002:"
_FLOAT = re.compile(
    r"^[-+]?(?:\d[\d_]*\.\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.(?:inf|Inf|INF))$"
    r"|^\.(?:nan|NaN|NAN)$"
)
_PLAIN_WORDS = (
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("int", re.compile(r"^[-+]?(?:0|[1-9][\d_]*)$|^0x[\da-fA-F]+$"), "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("merge", re.compile(r"^<<$"), "<"),
)


class _ConfLoader(yaml.SafeLoader):
    """YAML whose plain words are those of YAML 1.2, and in which a key is a name that stands once.

    PyYAML reads YAML 1.1, in which `no` is false, 1:30 is 90, 010 is 8, 1e-3 is text, and the second of two equal keys
    silently replaces the first.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own table, filled below)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == f"{_YAML_TAG}merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise OptionsError(f"{self.name}: key {key!r} (line {line}) is not text; write it in quotes")
            if key in seen:
                raise OptionsError(f"{self.name}: key {key!r} stands twice (line {line}); remove one")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


class _ConfDumper(yaml.SafeDumper):
    """Quotes what `_ConfLoader` would read as something else than the text it is, such as 1e5."""


for _tag, _words, _first in _PLAIN_WORDS:
    _ConfLoader.add_implicit_resolver(f"{_YAML_TAG}{_tag}", _words, list(_first))
_ConfDumper.add_implicit_resolver(f"{_YAML_TAG}float", _FLOAT, list("-+0123456789."))


def read_options(
    path: Path | None, options_class: type[OptionsType], overrides: Sequence[str | Override] = ()
) -> OptionsType:
    """Read the conf at `path`, apply `overrides` (of --set: "a.b=c"), check the whole. OptionsError on the first fault.

    Without a path the overrides alone are checked, beside the defaults.
    """
    tree, origins = _read_tree(path, ()) if path is not None else ({}, {})
    for override in overrides:
        _override(tree, origins, override)
    return check_options(tree, options_class, origins, default_origin=str(path or "command line"))


def read_merged(path: Path, options_class: type[OptionsType], over: Mapping[str, Any], over_origin: str) -> OptionsType:
    """Read the conf at `path` with the keys of `over` as if another conf with them had it as its `base`."""
    tree, origins = _read_tree(path, ())
    origins.update(dict.fromkeys(_leaf_keys(over), over_origin))
    return check_options(_merge(tree, dict(over), path), options_class, origins, default_origin=str(path))


def check_options(
    tree: Mapping[str, Any],
    options_class: type[OptionsType],
    origins: Mapping[_KeyPath, str] | None = None,
    default_origin: str = "options",
) -> OptionsType:
    """Check a tree of plain values against `options_class`; OptionsError names origin, key, value and remedy."""
    try:
        text = json.dumps(options_class.completed(tree))
    except (TypeError, ValueError, RecursionError) as error:
        raise OptionsError(f"{default_origin}: {error}; write text, numbers, lists and sections") from None
    try:
        # JSON semantics: a list may become a tuple and a string a Path, but "12" never becomes 12.
        return options_class.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = _worst_first(error)[0]
        raise OptionsError(_sentence(first, options_class, origins or {}, default_origin)) from None
    except DesedTaskError as error:  # of a value type that a validator built
        raise OptionsError(f"{default_origin}: {error}") from None


def override_options(options: OptionsType, overrides: Sequence[str]) -> OptionsType:
    """The same options with `overrides` ("a.b=c") applied and the whole checked again."""
    return check_overridden(json.loads(options.model_dump_json()), type(options), overrides, "stored options")


def check_overridden(
    tree: dict[str, Any], options_class: type[OptionsType], overrides: Sequence[str], default_origin: str
) -> OptionsType:
    """As `check_options`, after `overrides` ("a.b=c") are applied to the tree, in place."""
    origins: dict[_KeyPath, str] = {}
    for override in overrides:
        _override(tree, origins, override)
    return check_options(tree, options_class, origins, default_origin)


def write_options(options: Options, path: Path) -> None:
    """Write the resolved options as YAML that `read_options` reads back to the same."""
    partial = path.with_name(path.name + ".partial")
    tree = json.loads(options.model_dump_json())
    partial.write_text(yaml.dump(tree, Dumper=_ConfDumper, sort_keys=False), encoding="utf-8")
    partial.replace(path)


def _read_tree(path: Path, including: tuple[Path, ...]) -> tuple[dict[str, Any], dict[_KeyPath, str]]:
    resolved = path.resolve()
    if resolved in including:
        chain = " -> ".join(conf.name for conf in (*including, resolved))
        raise OptionsError(f"{path}: `base` leads back to itself ({chain}); remove one `base`")
    tree = _parse_yaml(_read_text(path), str(path), here=str(resolved.parent))
    if tree is None:
        raise OptionsError(f"{path}: the conf is empty")
    if not isinstance(tree, dict):
        raise OptionsError(f"{path}: a conf is a mapping of keys to values, this is a {type(tree).__name__}")
    base = tree.pop("base", None)
    bases = base if isinstance(base, list) else [base] if base is not None else []
    merged: dict[str, Any] = {}
    origins: dict[_KeyPath, str] = {}
    for name in bases:
        if not isinstance(name, str):
            raise OptionsError(f"{path}: base: {name!r} is not a file name")
        base_tree, base_origins = _read_tree(path.parent / name, (*including, resolved))
        merged, origins = _merge(merged, base_tree, path), {**origins, **base_origins}
    return _merge(merged, tree, path), {**origins, **{key: str(path) for key in _leaf_keys(tree)}}


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise OptionsError(f"{path}: no such conf") from None
    except UnicodeDecodeError as error:
        raise OptionsError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise OptionsError(f"{path}: cannot be read ({error.strerror})") from None


def _parse_yaml(text: str, name: str, here: str | None = None) -> Any:
    try:
        loader = _ConfLoader(text)
        loader.name = name
        try:
            return _copied(loader.get_single_data(), here)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise OptionsError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None
    except (ValueError, RecursionError) as error:
        raise OptionsError(f"{name}: cannot be read as YAML ({error})") from None


def _copied(value: Any, here: str | None) -> Any:
    """The value with `${here}` filled in. What YAML aliases share becomes separate, so that --set changes one place."""
    if isinstance(value, dict):
        return {key: _copied(item, here) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item, here) for item in value]
    return value.replace("${here}", here) if isinstance(value, str) and here is not None else value


def _merge(base: dict[str, Any], over: dict[str, Any], path: Path, above: _KeyPath = ()) -> dict[str, Any]:
    """`over` on top of `base`; path, above: the conf and the section, for what is wrong with them."""
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _on_top(merged.get(key), value, path, (*above, key))
    return merged


def _on_top(old: Any, value: Any, path: Path, place: _KeyPath) -> Any:
    if not isinstance(value, dict):
        return value
    # A section that names another variant starts afresh: keys of one model mean nothing to the next.
    if isinstance(old, dict) and value.get("name", old.get("name")) == old.get("name"):
        return _merge(old, value, path, place)
    if not isinstance(old, list) or not value or not all(part.isdecimal() for part in value):
        return value
    items = list(old)
    for part, item in value.items():
        if int(part) >= len(items):
            where = f"{path}: {'.'.join(place)}"
            raise OptionsError(f"{where}: {part!r} is not a position in a list of {len(items)} (from 0)")
        items[int(part)] = _on_top(items[int(part)], item, path, (*place, part))
    return items


def _override(tree: dict[str, Any], origins: dict[_KeyPath, str], override: str | Override) -> None:
    key, text, origin, words = override if isinstance(override, Override) else _typed_override(override)
    node: Any = tree
    for depth, part in enumerate(key[:-1], start=1):
        slot = _slot(node, part, key[: depth - 1], words)
        if isinstance(node, dict) and node.get(part) is None:
            node[part] = {}
        node = node[slot]
    node[_slot(node, key[-1], key[:-1], words)] = _parse_yaml(text, words)
    for known in [known for known in origins if known[: len(key)] == key]:
        del origins[known]
    origins[key] = origin


def _typed_override(typed: str) -> Override:
    """What stands behind --set."""
    key, equals, text = typed.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise OptionsError(f"--set {typed}: write it as a.b=value")
    return Override(path, text, "--set", f"--set {typed}")


def _slot(node: Any, part: str, above: _KeyPath, words: str) -> str | int:
    """`part` as what `node` is indexed by: a key of a section, a position in a list."""
    if isinstance(node, dict):
        return part
    if not isinstance(node, list):
        raise OptionsError(f"{words}: {'.'.join(above)} is a value, not a section")
    if not part.isdecimal() or int(part) >= len(node):
        raise OptionsError(f"{words}: {part!r} is not a position in a list of {len(node)} (from 0)")
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
    fault: Mapping[str, Any], options_class: type[Options], origins: Mapping[_KeyPath, str], default_origin: str
) -> str:
    kind, value = fault["type"], _shorten(fault["input"])
    location, known = _conf_place(fault["loc"], kind, options_class.model_json_schema())
    if kind.startswith("union_tag"):
        location = (*location, fault["ctx"]["discriminator"].strip("'"))
    place = f"{_origin(location, origins, default_origin)}: {'.'.join(location) or 'the conf'}"
    if kind == "extra_forbidden":
        return f"{place}: unknown key (value {value}){_suggestion(location[-1], known)}"
    if kind in ("missing", "union_tag_not_found"):
        return f"{place}: missing; add it"
    if kind == "union_tag_invalid":
        return f"{place}: {fault['ctx']['tag']!r} is none of {fault['ctx']['expected_tags']}"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if kind == "value_error":
        return f"{place}: {message}"
    return f"{place}: {message[:1].lower()}{message[1:]}, got {value}"


def _origin(location: _KeyPath, origins: Mapping[_KeyPath, str], default_origin: str) -> str:
    above = [location[:depth] for depth in range(len(location), 0, -1)]
    # What is wrong with a section may be what was put inside it.
    inside = [key for key in origins if location and key[: len(location)] == location]
    return next((origins[key] for key in [*above, *inside] if key in origins), default_origin)


def _conf_place(location: Sequence[str | int], kind: str, schema: _Schema) -> tuple[_KeyPath, list[str]]:
    """The fault's place as it is written in the conf, and the keys that are known there.

    pydantic's location also names the variant of a union, which no conf contains; the schema tells which part is which.
    """
    path: list[str] = []
    here = list(_flattened(schema, schema))
    for depth, part in enumerate(location, start=1):
        tags = [node["discriminator"]["mapping"] for node in here if "mapping" in node.get("discriminator", {})]
        variants: list[_Schema] = [{"$ref": mapping[part]} for mapping in tags if part in mapping]
        children = variants or [child for node in here for child in _children(node, part)]
        if not variants and (children or (kind == "extra_forbidden" and depth == len(location))):
            path.append(str(part))
        if children:
            here = [node for child in children for node in _flattened(child, schema)]
    return tuple(path), sorted({key for node in here for key in node.get("properties", {})})


def _flattened(node: _Schema, schema: _Schema) -> Iterator[_Schema]:
    """The node, what it refers to, and every variant of a union."""
    yield node
    if "$ref" in node:
        yield from _flattened(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    for variant in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
        yield from _flattened(variant, schema)


def _children(node: _Schema, part: str | int) -> Iterator[_Schema]:
    if isinstance(part, str):
        child = node.get("properties", {}).get(part, node.get("additionalProperties"))
    else:
        child = dict(enumerate(node.get("prefixItems", ()))).get(part, node.get("items"))
    if isinstance(child, dict):
        yield child


def _suggestion(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; remove it (known here: {', '.join(known)})"


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
