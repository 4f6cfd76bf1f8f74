"""A conf given to the recipe of the other kind is refused with the recipe that trains it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from desed_task.errors import OptionsError
from desed_task.runs.conf import read_conf, read_tagging_conf

CONFS = Path(__file__).resolve().parents[2] / "confs"


@pytest.mark.parametrize(
    ("read", "conf", "recipe"),
    [(read_conf, "tagging/demo.yaml", "train_tagging.py"), (read_tagging_conf, "sed/demo.yaml", "train_sed.py")],
)
def test_the_other_recipe_is_named(read: Callable[[Path], Any], conf: str, recipe: str) -> None:
    with pytest.raises(OptionsError, match=rf"{conf}: this is the conf of .*recipes/{recipe} --conf_file"):
        read(CONFS / conf)


@pytest.mark.parametrize(("read", "conf"), [(read_conf, "sed/demo.yaml"), (read_tagging_conf, "tagging/demo.yaml")])
def test_a_mistyped_key_keeps_its_own_sentence(read: Callable[[Path, list[str]], Any], conf: str) -> None:
    with pytest.raises(OptionsError, match="did you mean 'model'"):
        read(CONFS / conf, ["modle.name=crnn"])
