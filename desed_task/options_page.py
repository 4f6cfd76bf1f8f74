"""Options classes as a page of Markdown: one table per section, generated, so that it says what the code says.

Sections stand in the order of their fields, depth first; a section of several variants, told apart by `name`, has a
table for each. What stands in several places, of one kind of conf or of several, is described at the first and linked
from the others.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from desed_task.options import Options

_WORDS = {
    float: "number",
    int: "integer",
    bool: "true or false",
    str: "text",
    Path: "path",
    dict: "mapping",
    Any: "any",
}
_LIMITS = ((Ge, "ge", "≥"), (Gt, "gt", ">"), (Le, "le", "≤"), (Lt, "lt", "<"))
DISCRIMINATOR = "name"
Anchors = Mapping[type[Options], str]


@dataclass(frozen=True)
class Root:
    """One kind of conf: its title, what it is for, and its options."""

    title: str
    introduction: str
    options: type[Options]


def render_page(title: str, introduction: str, roots: Sequence[Root]) -> str:
    """The whole page."""
    lines = [f"# {title}", "", introduction]
    anchors: dict[type[Options], str] = {}
    for root in roots:
        lines += ["", f"## {root.title}", "", root.introduction]
        places: dict[type[Options], str] = {}
        _collect(root.options, "", places)
        new = {options: place for options, place in places.items() if options not in anchors}
        anchors |= {options: _anchor(root.title, place, options) for options, place in new.items()}
        for options, place in new.items():
            lines += _section(options, place, anchors)
    return "\n".join(lines) + "\n"


def _collect(options: type[Options], path: str, places: dict[type[Options], str]) -> None:
    """Every section with the place where it stands first, depth first."""
    places[options] = path
    for key, info in options.model_fields.items():
        for section, place in _sections(info.annotation, f"{path}.{key}" if path else key):
            if section not in places:
                _collect(section, place, places)


def _section(options: type[Options], path: str, anchors: Anchors) -> list[str]:
    """The heading, the sentence and the table of one section."""
    variants = " or ".join(f"`{name}`" for name in _names(options))
    heading = f"### `{path}`{f', {DISCRIMINATOR} {variants}' if variants else ''}"
    return [
        *("", f'<a id="{anchors[options]}"></a>', ""),
        *((heading, "") if path else ()),
        *(_first_paragraph(options), "", "| key | type | default | what it does |", "|---|---|---|---|"),
        *(_row(key, info, anchors) for key, info in options.model_fields.items()),
    ]


def _row(key: str, info: FieldInfo, anchors: Anchors) -> str:
    kind = _describe(info.annotation, anchors) + _limits(info)
    sentence = info.description or ("Which variant this is." if key == DISCRIMINATOR else "")
    # Names of files and values keep their spelling.
    sentence = sentence[:1].upper() + sentence[1:] if sentence.split(" ")[0].isalpha() else sentence
    sentence += "" if sentence.endswith((".", "!", "?")) else "."
    cells = (f"`{key}`", kind, _default(info), sentence)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None:
        return "null"
    if isinstance(value, Options):
        return "its defaults"
    if isinstance(value, tuple) and any(isinstance(item, Options) for item in value):
        return ", ".join(f"`{getattr(item, DISCRIMINATOR, 'section')}`" for item in value)
    return f"`{json.dumps(value, default=str)}`"


def _describe(annotation: Any, anchors: Anchors) -> str:
    """A type in words; sections as links to their tables."""
    annotation = _plain(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Options):
        names = _names(annotation)
        return f"[{names[0] if names else 'section'}](#{anchors[annotation]})"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{json.dumps(value) if not isinstance(value, str) else value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        words = ["null" if part is type(None) else _describe(part, anchors) for part in arguments]
        return " or ".join(dict.fromkeys(words))
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f"list of {_plural(_describe(arguments[0], anchors))}"
        return f"[{', '.join(_describe(part, anchors) for part in arguments)}]"
    if origin is dict:
        return f"mapping to {_describe(arguments[1], anchors)}"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _plural(words: str) -> str:
    return {"number": "numbers", "integer": "integers", "path": "paths", "text": "text"}.get(words, words)


def _limits(info: FieldInfo) -> str:
    found = [
        f"{sign} {getattr(limit, name):g}"
        for limit in info.metadata
        for kind, name, sign in _LIMITS
        if isinstance(limit, kind)
    ]
    return f", {' and '.join(found)}" if found else ""


def _sections(annotation: Any, path: str) -> Iterator[tuple[type[Options], str]]:
    """The options classes inside a type, each with the place it has in a conf."""
    annotation = _plain(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Options):
        yield annotation, path
        return
    origin = get_origin(annotation)
    inside = {tuple: f"{path}[]", dict: f"{path}.*"}.get(origin, path) if origin is not None else path
    for part in get_args(annotation):
        if origin is not Literal:
            yield from _sections(part, inside)


def _plain(annotation: Any) -> Any:
    """The type without what annotates it."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _names(options: type[Options]) -> tuple[str, ...]:
    """The values of `name` that choose this variant; none for a section that has no variants."""
    info = options.model_fields.get(DISCRIMINATOR)
    if info is None or get_origin(info.annotation) is not Literal:
        return ()
    return tuple(str(value) for value in get_args(info.annotation))


def _anchor(root: str, path: str, options: type[Options]) -> str:
    words = " ".join((root, path, *_names(options)[:1]))
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _first_paragraph(options: type[Options]) -> str:
    return " ".join((options.__doc__ or "").strip().split("\n\n")[0].split())
