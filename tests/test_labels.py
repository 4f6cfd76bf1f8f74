"""LabelSet: ordered, distinct names."""

from __future__ import annotations

import pytest

from desed_task.errors import DesedTaskError
from desed_task.labels import DESED_LABELS, LabelSet


def test_desed_has_ten_classes_in_alphabetical_order() -> None:
    assert len(DESED_LABELS) == 10
    assert list(DESED_LABELS) == sorted(DESED_LABELS)


def test_a_name_and_its_position_lead_to_each_other() -> None:
    labels = LabelSet(["Dog", "Cat"])
    assert (labels.index("Cat"), labels[1], list(labels), len(labels)) == (1, "Cat", ["Dog", "Cat"], 2)
    assert "Dog" in labels
    assert "Bird" not in labels
    with pytest.raises(KeyError):
        labels.index("Bird")


def test_the_order_is_part_of_what_a_label_set_is() -> None:
    assert LabelSet(["Dog", "Cat"]) == LabelSet(("Dog", "Cat"))
    assert hash(LabelSet(["Dog", "Cat"])) == hash(LabelSet(("Dog", "Cat")))
    assert LabelSet(["Dog", "Cat"]) != LabelSet(["Cat", "Dog"])
    assert LabelSet(["Dog"]) != ("Dog",)


def test_names_may_have_commas_as_those_of_audioset_have() -> None:
    assert len(LabelSet(["Female speech, woman speaking"])) == 1


@pytest.mark.parametrize("name", ["", " Dog", "Dog ", "D\tog", "D\nog", "D\\og"])
def test_names_that_a_table_cannot_hold_are_refused(name: str) -> None:
    with pytest.raises(DesedTaskError, match="class name"):
        LabelSet(["Cat", name])


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(DesedTaskError, match="'Cat' stands twice"):
        LabelSet(["Cat", "Dog", "Cat"])


def test_no_name_at_all_is_refused() -> None:
    with pytest.raises(DesedTaskError, match="empty"):
        LabelSet([])
