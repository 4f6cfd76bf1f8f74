"""What a query string means, and what the same parameters mean to a model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from desed_task.hearing import DetectionOptions
from desed_task.labels import LabelSet
from serving.errors import RequestError
from serving.http.queries import ListenQuery, read_parameters, read_query

# AudioSet has classes with commas.
LABELS = LabelSet(["dog", "Male speech, man speaking", "cat"])


def options(*pairs: tuple[str, str]) -> DetectionOptions:
    return ListenQuery(read_parameters(pairs)).options_for(LABELS)


def faults(*pairs: tuple[str, str]) -> list[str]:
    with pytest.raises(RequestError) as refused:
        options(*pairs)
    assert (refused.value.status, refused.value.code) == (422, "bad_parameter")
    return [fault["parameter"] for fault in refused.value.members["errors"]]


@pytest.mark.parametrize(
    "texts",
    [
        ["dog,Male speech, man speaking"],
        ["Male speech, man speaking"],
        ["dog", "cat"],
        ['["dog", "cat"]'],
        [" dog , cat,"],
    ],
)
def test_labels_are_split_at_commas_unless_they_are_a_class(texts: list[str]) -> None:
    pairs = [("labels", text) for text in texts]
    if texts == ["dog,Male speech, man speaking"]:
        assert faults(*pairs) == ["labels"]  # in a comma list only names without commas
    elif texts == ["Male speech, man speaking"]:
        assert options(*pairs).labels == ("Male speech, man speaking",)
    else:
        assert options(*pairs).labels == ("dog", "cat")


def test_a_class_with_commas_can_stand_beside_others() -> None:
    both = ("dog", "Male speech, man speaking")
    assert options(*(("labels", name) for name in both)).labels == both
    assert options(("labels", '["dog", "Male speech, man speaking"]')).labels == both


def test_thresholds_of_classes_go_over_the_one_for_all() -> None:
    assert options(("threshold", "0.3")).thresholds == 0.3
    assert options(("thresholds", "dog:0.4")).thresholds == {"dog": 0.4}
    assert options(("thresholds", "dog:0.4"), ("threshold", "0.3")).thresholds == {"default": 0.3, "dog": 0.4}
    assert options(("thresholds", '{"default": 0.2, "cat": 1}')).thresholds == {"default": 0.2, "cat": 1.0}
    assert options(("thresholds", "Male speech, man speaking:0.5")).thresholds == {"Male speech, man speaking": 0.5}


def test_every_fault_is_named_at_once() -> None:
    assert faults(("top_k", "0"), ("labels", "[x"), ("frames", "1"), ("colour", "red"), ("frames", "0")) == [
        *("frames", "labels", "top_k", "colour")
    ]


@pytest.mark.parametrize(
    "text", ["dog:nan", "dog:inf", "dog:-0.1", '{"dog": 1e999}', '{"dog": "0.5"}', "{" * 100_000, ":"]
)
def test_a_threshold_that_is_no_score_is_refused(text: str) -> None:
    assert faults(("thresholds", text)) == ["thresholds"]


def test_the_same_query_is_prepared_once() -> None:
    query = ListenQuery(read_parameters([("threshold", "0.3")]))
    assert query.options_for(LABELS) is query.options_for(LabelSet(LABELS.names))
    other: Any = query.options_for(LabelSet(["dog"]))
    assert other == query.options_for(LABELS)


def test_a_question_is_kept_unless_it_is_large() -> None:
    call: Any = SimpleNamespace(scope={"query_string": b"top_k=3"})
    assert read_query(call) is read_query(call)
    large = (("labels", "x" * 5000),)
    assert read_query(call, large) is not read_query(call, large)
