"""A soundbank that comes in splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from desed_task.audio.reading import write_waveform
from desed_task.errors import CorpusError, OptionsError
from desed_task.options import check_options
from desed_task.soundscapes.split_folders import SplitFoldersOptions, build_split_folders_soundbank

RATE = 8_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """events/{tr,val}/{Cat,Dog}: a recording each; noise/{tr,val}/street: one, and one right in noise/tr."""
    for split in ("tr", "val"):
        for label in ("Cat", "Dog"):
            folder = tmp_path / "events" / split / label
            folder.mkdir(parents=True)
            write_waveform(folder / f"{split}{label}.wav", np.full(RATE, 0.1, dtype=np.float32), RATE)
        (tmp_path / "noise" / split / "street").mkdir(parents=True)
        write_waveform(tmp_path / "noise" / split / "street" / f"{split}1.wav", np.full(RATE, 0.1, np.float32), RATE)
    write_waveform(tmp_path / "noise" / "tr" / "tr2.wav", np.full(RATE, 0.1, np.float32), RATE)
    return tmp_path


def options_of(root: Path | None, **keys: object) -> SplitFoldersOptions:
    tree = {"name": "split_folders", "foreground": "events/{split}", "background": "noise/{split}", **keys}
    return check_options({**tree, "root": str(root) if root else None, "folders": {"train": "tr"}}, SplitFoldersOptions)


def test_each_split_has_its_folders(root: Path) -> None:
    train = build_split_folders_soundbank(options_of(root), "train", 0, RATE)
    val = build_split_folders_soundbank(options_of(root), "val", 0, RATE)
    rng = np.random.default_rng(0)
    assert train.labels == val.labels == ("Cat", "Dog")
    assert [train.draw_event(rng, "Dog").source, val.draw_event(rng, "Cat").source] == ["trDog", "valCat"]
    assert {train.backgrounds.draw(rng, RATE).source for _ in range(20)} == {"tr1", "tr2"}
    assert {val.backgrounds.draw(rng, RATE).source for _ in range(5)} == {"val1"}


def test_a_source_in_two_splits_is_refused(root: Path) -> None:
    write_waveform(root / "events" / "val" / "Cat" / "trDog.wav", np.full(RATE, 0.1, np.float32), RATE)
    folders = {"train": "tr", "val": "val"}
    with pytest.raises(CorpusError, match=r"source 'trDog' is in splits 'train' and 'val'; move its recordings"):
        build_split_folders_soundbank(options_of(root).model_copy(update={"folders": folders}), "train", 0)


def test_what_is_missing_is_named(root: Path) -> None:
    for options, split, sentence in (
        (options_of(root), "eval", r"events/eval: no such folder; correct soundbank.root"),
        (options_of(root, background="noises"), "train", r"noises: no such folder; correct soundbank.background"),
        (options_of(root / "nowhere"), "train", r"nowhere: no such folder"),
    ):
        with pytest.raises(CorpusError, match=sentence):
            build_split_folders_soundbank(options, split, 0)
    with pytest.raises(OptionsError, match=r"foreground 'events' is the same for every split"):
        options_of(root, foreground="events")
    with pytest.raises(OptionsError, match=r"soundbank.root is not given"):
        build_split_folders_soundbank(options_of(None), "train", 0)


def test_backgrounds_may_be_synthesised(root: Path) -> None:
    backgrounds = build_split_folders_soundbank(options_of(root, background=None), "train", 0, RATE).backgrounds
    assert backgrounds.is_endless
    assert len(backgrounds.read(backgrounds.draw(np.random.default_rng(0), 999), 999)) == 999
