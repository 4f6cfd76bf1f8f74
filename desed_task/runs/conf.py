"""The conf of a detector, read from a file of ours or from a published one (2022-2024), told apart by its shape."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from desed_task.experiment import SedOptions
from desed_task.options import check_overridden, read_options
from desed_task.published.conf import parse_published, translate_conf


def read_conf(path: Path, overrides: Sequence[str] = ()) -> SedOptions:
    """The options of a conf with `overrides` ("a.b=c", in our words for both kinds) applied; OptionsError.

    Of a published conf the log says as which year it was read and which of its keys do nothing.
    """
    published = parse_published(path)
    if published is None:
        return read_options(path, SedOptions, overrides)
    translated = translate_conf(published, path)
    options = check_overridden(translated.tree, SedOptions, overrides, str(path))
    translated.log(str(path))
    return options
