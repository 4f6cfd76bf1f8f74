"""Queries: what one request asks for, by its query string, and by the fields of its form where it is one.

`thresholds` is a JSON object, or repeated as `thresholds=dog:0.4`; `labels` a comma-separated list, a JSON list, or
repeated (a name that is itself a class may hold commas). What a query string means is kept, since clients repeat
themselves; unknown, repeated and impossible parameters are a 422 that names each of them.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args
from urllib.parse import parse_qsl

from pydantic import Field, ValidationError

from desed_task.hearing import DetectionOptions
from desed_task.labels import LabelSet
from desed_task.options import Options
from serving.errors import RequestError, bad_parameters
from serving.http.calls import Call

FormatName = Literal["json", "verbose_json", "ndjson", "tsv", "csv", "audacity", "raven", "srt", "vtt", "text"]
FORMAT_NAMES: tuple[str, ...] = get_args(FormatName)
OTHER_CLASSES = "default"

_MANY_VALUED = ("thresholds", "labels")
_MAX_PARAMETERS = 1000
# Larger questions are not kept: a thousand of them would be.
_REMEMBERED_BYTES = 4096
_LONGEST_DEADLINE = 3600.0

Pairs = tuple[tuple[str, str], ...]


class ListenParameters(Options):
    """The parameters of POST /v1/events, /v1/tags and /v1/batch."""

    model: str | None = Field(None, description="id of the model that listens; the default one when it is not given")
    threshold: float | None = Field(
        None, ge=0, le=1, description="replaces the bundle's thresholds, the same for every class"
    )
    thresholds: dict[str, float] | None = Field(
        None, description="thresholds of single classes: a JSON object, or repeated as thresholds=dog:0.4"
    )
    labels: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] | None = Field(
        None, description="the classes that are listed: a comma-separated or JSON list, or repeated; all when not given"
    )
    top_k: int | None = Field(None, ge=1, description="how many tags are listed, those of the highest score")
    min_duration: float = Field(0.0, ge=0, description="shorter events are left out, in seconds")
    frames: bool = Field(
        False, description="whether the answer holds the frame scores: float16, little-endian, in base64"
    )
    strict: bool = Field(
        False,
        description="whether a truncated recording is refused; else it is heard as far as it goes, with a warning",
    )
    response_format: FormatName | None = Field(None, description="form of the answer; it goes before the header Accept")


class ListenQuery:
    """The parameters of one request, and the options that they mean to a model."""

    def __init__(self, parameters: ListenParameters) -> None:
        self.parameters = parameters
        # By the classes of the model; few, since a server has few models.
        self._options: dict[tuple[str, ...], DetectionOptions] = {}

    def options_for(self, labels: LabelSet) -> DetectionOptions:
        """What is asked of a model with these classes; RequestError 422 for a class that it does not have."""
        options = self._options.get(labels.names)
        if options is None:
            options = self._options[labels.names] = _build_options(self.parameters, labels)
        return options


def read_query(call: Call, fields: Pairs = ()) -> ListenQuery:
    """What a call asks for; `fields` are those of its form. RequestError 422 names each parameter that cannot be."""
    query_string = call.scope["query_string"]
    if not query_string and not fields:
        return _DEFAULT
    num_bytes = len(query_string) + sum(len(name) + len(value) for name, value in fields)
    return (_read_once if num_bytes <= _REMEMBERED_BYTES else _read)(query_string, fields)


def read_deadline(call: Call) -> float | None:
    """When the client gives up, by X-Deadline-Seconds, on the clock of time.monotonic; None when it does not say."""
    text = call.header(b"x-deadline-seconds")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST_DEADLINE:
        raise bad_parameters(
            [("X-Deadline-Seconds", f"{text[:40]!r} is not a number above 0, up to {_LONGEST_DEADLINE:g}")]
        )
    return call.start + seconds


def deadline_of(call: Call, asked: float | None) -> float:
    """The deadline of a recording whose body is there: what the client asked, else as long as the settings say."""
    return time.monotonic() + call.services.settings.deadline_seconds if asked is None else asked


def _read(query_string: bytes, fields: Pairs) -> ListenQuery:
    try:
        text = query_string.decode("ascii", "replace")
        pairs = [*parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS), *fields]
    except ValueError:
        raise RequestError(422, "bad_parameter", f"more than {_MAX_PARAMETERS} parameters") from None
    return ListenQuery(read_parameters(pairs))


_read_once = lru_cache(maxsize=1024)(_read)


def read_parameters(pairs: Sequence[tuple[str, str]]) -> ListenParameters:
    """Names and texts -> parameters. RequestError 422 names each that is unknown, repeated or cannot be."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    faults = [
        (name, "given more than once") for name, values in given.items() if len(values) > 1 and name not in _MANY_VALUED
    ]
    tree: dict[str, Any] = {name: values[0] for name, values in given.items() if name not in _MANY_VALUED}
    for name, parse in (("thresholds", _parse_thresholds), ("labels", _parse_labels)):
        try:
            tree |= {name: parse(given[name])} if name in given else {}
        except ValueError as error:
            faults.append((name, str(error)))
    try:
        parameters = ListenParameters.model_validate(tree)
    except ValidationError as error:
        first = {_name(fault["loc"]): _sentence(fault) for fault in reversed(error.errors())}
        faults += list(reversed(first.items()))
    if faults:
        raise bad_parameters(faults)
    return parameters


def _name(location: tuple[int | str, ...]) -> str:
    return str(location[0]) if location else "parameters"


def _sentence(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return f"no such parameter; there are {', '.join(ListenParameters.model_fields)}"
    return str(fault["msg"])


def _parse_thresholds(texts: list[str]) -> dict[str, float]:
    if len(texts) == 1 and texts[0].lstrip().startswith("{"):
        tree = _json(texts[0])
        numbers = {str(name): value for name, value in tree.items()}
    else:
        numbers = {}
        for text in texts:
            name, colon, number = text.rpartition(":")
            if not colon or name in numbers:
                raise ValueError(f"{text[:60]!r} is not class:number, each class once, nor a JSON object")
            numbers[name] = _number(number)
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f"{str(value)[:40]!r} of {name[:60]!r} is not a number from 0 to 1")
    return {name: float(value) for name, value in numbers.items()}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a number from 0 to 1") from None


def _parse_labels(texts: list[str]) -> tuple[str, ...]:
    if len(texts) > 1 or not texts[0].lstrip().startswith("["):
        return tuple(texts)
    names = _json(texts[0])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("not a JSON list of class names")
    return tuple(names)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{text[:60]!r} is not JSON") from None


def _build_options(parameters: ListenParameters, labels: LabelSet) -> DetectionOptions:
    thresholds: float | dict[str, float] | None = parameters.threshold
    if parameters.thresholds is not None:
        _require_classes("thresholds", [name for name in parameters.thresholds if name != OTHER_CLASSES], labels)
        others = {} if parameters.threshold is None else {OTHER_CLASSES: parameters.threshold}
        thresholds = others | parameters.thresholds
    return DetectionOptions(
        thresholds=thresholds,
        labels=None if parameters.labels is None else _class_names(parameters.labels, labels),
        min_duration=parameters.min_duration,
        frames=parameters.frames,
    )


def _class_names(texts: tuple[str, ...], labels: LabelSet) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for text in texts:
        # a class of AudioSet may hold commas
        parts = [text] if text in labels else [part.strip() for part in text.split(",")]
        names.update(dict.fromkeys(part for part in parts if part))
    if not names:
        raise bad_parameters([("labels", "names no class")])
    _require_classes("labels", list(names), labels)
    return tuple(names)


def _require_classes(parameter: str, names: list[str], labels: LabelSet) -> None:
    unknown = next((name for name in names if name not in labels), None)
    if unknown is not None:
        raise bad_parameters([(parameter, f"{unknown[:80]!r} is not a class of the model; GET /v1/models lists them")])


_DEFAULT = ListenQuery(ListenParameters())
