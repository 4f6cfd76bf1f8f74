"""Requests that schemathesis makes of the service's own description: every operation, with parameters that fit it and
parameters that do not, and bodies of the corpus and its mutations where the description says bytes.

A request may ask for a deadline of a nanosecond, and is then told that it was missed (504): that is its own doing.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import hypothesis
import schemathesis
from hypothesis import strategies
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from benchmarks.hostile.verdicts import DEADLINE, code_of, fault_of, reached_decoder

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
_MOST_FAULTS = 50


@dataclass
class Tally:
    """What became of the requests so far."""

    statuses: Counter[int] = field(default_factory=Counter)
    num_reached: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def num_requests(self) -> int:
        """All of them."""
        return sum(self.statuses.values())


def send_schema_requests(url: str, number: int, bodies: Sequence[bytes]) -> Tally:
    """About so many requests, shared by the operations: twice as many of those that take bytes."""
    tally = Tally()
    strategy = strategies.sampled_from(bodies)
    schemathesis.openapi.media_type("application/octet-stream", strategy)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    operations = list(_operations(url))
    shares = [2 if operation.method.upper() == "POST" else 1 for operation in operations]
    modes = list(schemathesis.GenerationMode)
    for (operation, share), mode in itertools.product(zip(operations, shares, strict=True), modes):
        count = max(1, round(number * share / sum(shares) / len(modes)))
        _send(url, operation, mode, count, tally)
    return tally


def _operations(url: str) -> Iterator[Any]:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    for result in schema.get_all_operations():
        yield cast(Any, result).ok()


def _send(url: str, operation: Any, mode: Any, number: int, tally: Tally) -> None:
    @hypothesis.settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(operation.as_strategy(generation_mode=mode), strategies.booleans())
    def send_one(case: Any, keeps_model: bool) -> None:
        if not keeps_model and case.query:
            case.query.pop("model", None)  # else nearly all would ask for models that are not there
        _judge(case, case.call(base_url=url), tally)

    try:
        send_one()
    except hypothesis.errors.Unsatisfiable:
        return  # an operation without parameters has none that do not fit


def _judge(case: Any, response: Any, tally: Tally) -> None:
    tally.statuses[response.status_code] += 1
    content_type = (response.headers.get("content-type") or [""])[0]
    tally.num_reached += reached_decoder(response.status_code, response.content) and case.method.upper() == "POST"
    asked_for_deadline = "X-Deadline-Seconds" in (case.headers or {})
    if response.status_code == 504 and code_of(response.content) == DEADLINE and asked_for_deadline:
        return
    fault = None
    try:
        case.validate_response(response, checks=CHECKS)
    except (Exception, BaseExceptionGroup) as error:  # schemathesis has groups of its own
        fault = " ".join(str(error).split())[:500]
    if response.status_code >= 400:
        fault = fault or fault_of(response.status_code, content_type, response.content)
    if fault is not None and len(tally.faults) < _MOST_FAULTS:
        tally.faults.append(f"{case.method} {case.path}: {fault}")
