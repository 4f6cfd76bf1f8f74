"""What would break a client of an older description of the interface (OpenAPI 3.1).

What a client sends may only be taken more widely: no path, operation, parameter, field or media type goes away, nothing
that was optional is required, no type, list of values or bound narrower. What a client gets may only grow: no status,
media type or member goes away, no required member becomes optional, and no member takes a type or (of a closed list) a
value that it did not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Tree = Mapping[str, Any]

_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


def breaking_changes(old: Tree, new: Tree) -> list[str]:
    """One sentence per thing of `old` that a client may rely on and `new` does not keep."""
    return list(_paths(_Pair(old, new)))


class _Pair:
    """The two documents, to follow references in."""

    def __init__(self, old: Tree, new: Tree) -> None:
        self.old = old
        self.new = new

    def resolved(self, old: Tree, new: Tree) -> tuple[Tree, Tree]:
        return _resolve(old, self.old), _resolve(new, self.new)


def _resolve(schema: Tree, document: Tree) -> Tree:
    while "$ref" in schema:
        here: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            here = here[part]
        schema = {**here, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def _paths(pair: _Pair) -> Iterator[str]:
    for path, operations in pair.old["paths"].items():
        for method, operation in operations.items():
            place = f"{method.upper()} {path}"
            kept = pair.new["paths"].get(path, {}).get(method)
            if kept is None:
                yield f"{place} is gone"
                continue
            yield from _parameters(operation, kept, place, pair)
            yield from _body(operation.get("requestBody", {}), kept.get("requestBody", {}), place, pair)
            yield from _responses(operation["responses"], kept["responses"], place, pair)


def _parameters(old: Tree, new: Tree, place: str, pair: _Pair) -> Iterator[str]:
    before, after = (
        {(parameter["in"], parameter["name"]): parameter for parameter in operation.get("parameters", [])}
        for operation in (old, new)
    )
    for key, parameter in before.items():
        name = f"{place}: parameter {key[1]}"
        if key not in after:
            yield f"{name} is gone"
        else:
            yield from _request_schema(_schema_of(parameter), _schema_of(after[key]), name, pair)
    for key, parameter in after.items():
        if parameter.get("required") and not before.get(key, {}).get("required"):
            yield f"{place}: parameter {key[1]} is newly required"


def _schema_of(parameter: Tree) -> Tree:
    content = parameter.get("content")
    schema: Tree = next(iter(content.values()))["schema"] if content else parameter.get("schema", {})
    return schema


def _body(old: Tree, new: Tree, place: str, pair: _Pair) -> Iterator[str]:
    if new.get("required") and not old.get("required"):
        yield f"{place}: a body is newly required"
    for media_type, content in old.get("content", {}).items():
        kept = new.get("content", {}).get(media_type)
        if kept is None:
            yield f"{place}: a body of {media_type} is not taken any more"
        else:
            yield from _request_schema(content.get("schema", {}), kept.get("schema", {}), f"{place}: body", pair)


def _responses(old: Tree, new: Tree, place: str, pair: _Pair) -> Iterator[str]:
    for status, response in old.items():
        if status not in new:
            yield f"{place}: status {status} is gone"
            continue
        for media_type, content in response.get("content", {}).items():
            kept = new[status].get("content", {}).get(media_type)
            if kept is None:
                yield f"{place}: {status} is not given as {media_type} any more"
            else:
                where = f"{place}: {status}"
                yield from _response_schema(content.get("schema", {}), kept.get("schema", {}), where, pair)


def _request_schema(old: Tree, new: Tree, place: str, pair: _Pair) -> Iterator[str]:
    old, new = pair.resolved(old, new)
    if not _types(new, pair.new) >= _types(old, pair.old):
        yield f"{place} takes {_listed(_types(new, pair.new))} only, not {_listed(_types(old, pair.old))}"
    gone = set(map(str, old.get("enum", ()))) - set(map(str, new.get("enum", old.get("enum", ()))))
    if gone or ("enum" in new and "enum" not in old):
        yield f"{place} does not take every value any more ({_listed(gone or set(map(str, new['enum'])))} differ)"
    for bound in _LOWER_BOUNDS:
        if bound in new and new[bound] > old.get(bound, float("-inf")):
            yield f"{place}: {bound} is now {new[bound]}"
    for bound in _UPPER_BOUNDS:
        if bound in new and new[bound] < old.get(bound, float("inf")):
            yield f"{place}: {bound} is now {new[bound]}"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{place}: another pattern, {new['pattern']}"
    for name in set(new.get("required", ())) - set(old.get("required", ())):
        yield f"{place}: {name} is newly required"
    for name, member in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            yield f"{place}: {name} is gone"
        else:
            yield from _request_schema(member, new["properties"][name], f"{place}.{name}", pair)
    if "items" in old and "items" in new:
        yield from _request_schema(old["items"], new["items"], f"{place}[]", pair)


def _response_schema(old: Tree, new: Tree, place: str, pair: _Pair) -> Iterator[str]:
    old, new = pair.resolved(old, new)
    if not _types(new, pair.new) <= _types(old, pair.old):
        yield f"{place} may be {_listed(_types(new, pair.new))}, not only {_listed(_types(old, pair.old))}"
    more = set(map(str, new.get("enum", old.get("enum", ())))) - set(map(str, old.get("enum", ())))
    if "enum" in old and ("enum" not in new or more):
        yield f"{place} may have other values ({_listed(more)})"
    for name in set(old.get("required", ())) - set(new.get("required", ())):
        if name in new.get("properties", {}):
            yield f"{place}: {name} may be missing"
    for name, member in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            yield f"{place}: {name} is gone"
        else:
            yield from _response_schema(member, new["properties"][name], f"{place}.{name}", pair)
    if "items" in old and "items" in new:
        yield from _response_schema(old["items"], new["items"], f"{place}[]", pair)
    yield from _alternatives(old, new, place, pair)


def _alternatives(old: Tree, new: Tree, place: str, pair: _Pair) -> Iterator[str]:
    """The object of a member that may also be null."""
    before, after = (
        [schema for schema in tree.get("anyOf", ()) if schema.get("type") != "null"] for tree in (old, new)
    )
    if len(before) == len(after) == 1:
        yield from _response_schema(before[0], after[0], place, pair)


def _types(schema: Tree, document: Tree) -> set[str]:
    """The JSON types that a value may have; a number may be an integer."""
    schema = _resolve(schema, document)
    if "anyOf" in schema:
        return {name for alternative in schema["anyOf"] for name in _types(alternative, document)}
    kind = schema.get("type", ["object", "array", "string", "number", "boolean", "null"])
    names = {kind} if isinstance(kind, str) else set(kind)
    return names | ({"integer"} if "number" in names else set())


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "anything"
