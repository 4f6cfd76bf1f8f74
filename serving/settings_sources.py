"""Settings from four places: flags go over the environment, that over the conf, that over the defaults.

    flags         --port 9000        --set max_batch=32
    environment   DESED_TASK_SERVING_PORT=9000   DESED_TASK_SERVING_SIMULATED__ROW_MS=0.25
    conf          --conf_file confs/serving.yaml, or DESED_TASK_SERVING_CONF_FILE

In a variable's name `__` leads into a section; names of fields may be in capitals, keys of a mapping are as they are
written. A value is YAML (so JSON too: `DESED_TASK_SERVING_MODELS='{"dogs": "bundles/dogs"}'`), where a field holds text
it is taken as it stands, and an empty one counts as not given. A name with the prefix that is no setting is refused,
since a misspelt limit is no limit; every message names the place that the value is from.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from desed_task.errors import OptionsError
from desed_task.options import Options, OptionsType, Override, read_options

PREFIX = "DESED_TASK_SERVING_"
_NESTED = "__"
# Of the command itself, which no conf holds.
CONF_FILE, PORT_FILE = f"{PREFIX}CONF_FILE", f"{PREFIX}PORT_FILE"


def read_settings(
    options_class: type[OptionsType],
    conf_file: Path | None,
    flags: Mapping[str, Any],
    typed: Sequence[str],
    environment: Mapping[str, str],
) -> OptionsType:
    """The settings of a server; OptionsError, one sentence, when they cannot be.

    flags: fields by name, None for those that were not given; typed: what stood behind each --set.
    """
    # A JSON value is a YAML value, so a flag is never read as anything but what was typed.
    given = [
        Override((name,), json.dumps(value), f"--{name}", f"--{name}")
        for name, value in flags.items()
        if value is not None
    ]
    conf_file = conf_file or path_of(environment, CONF_FILE)
    return read_options(conf_file, options_class, [*environment_overrides(options_class, environment), *given, *typed])


def path_of(environment: Mapping[str, str], name: str) -> Path | None:
    """The path that a variable holds; None when it is not there or empty."""
    return Path(environment[name]) if environment.get(name) else None


def environment_overrides(options_class: type[Options], environment: Mapping[str, str]) -> list[Override]:
    """The settings among the variables, sections before what is inside them."""
    names = [name for name, value in environment.items() if name.startswith(PREFIX) and value]
    settings = [name for name in names if name not in (CONF_FILE, PORT_FILE)]
    return sorted((_override_of(options_class, name, environment[name]) for name in settings), key=_depth)


def variables(options_class: type[Options], prefix: str = PREFIX) -> Iterator[str]:
    """Every name that a setting has in the environment."""
    for field, info in options_class.model_fields.items():
        name = prefix + field.upper()
        yield name
        for section in _alternatives(info.annotation):
            if isinstance(section, type) and issubclass(section, Options):
                yield from variables(section, name + _NESTED)


def _depth(override: Override) -> tuple[int, str]:
    return len(override.key), override.origin


def _override_of(options_class: type[Options], name: str, value: str) -> Override:
    key: list[str] = []
    here: tuple[Any, ...] = (options_class,)
    for part in name.removeprefix(PREFIX).split(_NESTED):
        field, here = _step(here, part) or _refuse(options_class, name)
        key.append(field)
    return Override(tuple(key), _as_yaml(here, value), name, name)


def _step(here: Sequence[Any], part: str) -> tuple[str, tuple[Any, ...]] | None:
    """The key that `part` names in one of the types `here`, and the types it may have; None when there is none."""
    for kind in here:
        if isinstance(kind, type) and issubclass(kind, Options) and part.lower() in kind.model_fields:
            field = part.lower()
            return field, _alternatives(kind.model_fields[field].annotation)
        if part and get_origin(kind) in (dict, tuple):
            return part, _alternatives(get_args(kind)[1 if get_origin(kind) is dict else 0])
    return None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, one by one; a type that is none by itself."""
    if get_origin(annotation) is None or isinstance(annotation, type) or get_origin(annotation) in (dict, tuple):
        return (annotation,)
    return tuple(kind for part in get_args(annotation) for kind in _alternatives(part)) or (annotation,)


def _as_yaml(kinds: Sequence[Any], value: str) -> str:
    is_text = bool(set(kinds) & {str, Path}) and set(kinds) <= {str, Path, NoneType}
    return value if not is_text or (NoneType in kinds and value in ("null", "~")) else json.dumps(value)


def _refuse(options_class: type[Options], name: str) -> tuple[str, tuple[Any, ...]]:
    known = [*variables(options_class), CONF_FILE, PORT_FILE]
    close = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.8)
    remedy = f"did you mean {close[0]}?" if close else f"rename it, or unset it (settings are {known[0]}, ...)"
    raise OptionsError(f"{name}: no setting has this name in the environment; {remedy}")
