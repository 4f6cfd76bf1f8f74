"""The conf of a detector or a tagger; a published detector's (2022-2024) is told apart by its shape.

A conf of the other kind is refused with the recipe that trains it, in place of its first unknown key.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from desed_task.errors import OptionsError
from desed_task.experiment import SedOptions
from desed_task.options import Options, check_overridden, read_options
from desed_task.published.conf import parse_published, translate_conf
from desed_task.tagging import TaggingOptions


def read_conf(path: Path, overrides: Sequence[str] = ()) -> SedOptions:
    """The options of a conf with `overrides` ("a.b=c", in our words for both kinds) applied; OptionsError.

    Of a published conf the log says as which year it was read and which of its keys do nothing.
    """
    published = parse_published(path)
    if published is None:
        try:
            return read_options(path, SedOptions, overrides)
        except OptionsError:
            _refuse_other(path, TaggingOptions, "a tagger", "recipes/train_tagging.py")
            raise
    translated = translate_conf(published, path)
    options = check_overridden(translated.tree, SedOptions, overrides, str(path))
    translated.log(str(path))
    return options


def read_tagging_conf(path: Path, overrides: Sequence[str] = ()) -> TaggingOptions:
    """The options of a tagger's conf with `overrides` ("a.b=c") applied; OptionsError."""
    try:
        return read_options(path, TaggingOptions, overrides)
    except OptionsError:
        _refuse_other(path, SedOptions, "a detector", "recipes/train_sed.py")
        raise


def _refuse_other(path: Path, other: type[Options], word: str, recipe: str) -> None:
    """OptionsError if the file is a sound conf of the other kind."""
    try:
        read_options(path, other)
    except OptionsError:
        return
    raise OptionsError(f"{path}: this is the conf of {word}; train it with `python {recipe} --conf_file {path}`")
