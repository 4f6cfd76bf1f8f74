from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from desed_task.errors import CorpusError, EventTableError, OptionsError
from desed_task.options import check_options
from desed_task.soundscapes.table import TableOptions, build_table_soundbank

FOLDS = {"train": [1, 2], "validation": [3], "test": [4]}
HEADER = "filename\tevent_label\tfold\n"


def options_of(root: Path, **keys: object) -> TableOptions:
    return check_options({"name": "table", "root": str(root), "folds": FOLDS, **keys}, TableOptions)


@pytest.fixture
def small(folder_bank: Path, tmp_path: Path) -> Path:
    """A table of one recording per fold, named source-take."""
    (tmp_path / "audio").mkdir()
    waveform = (folder_bank / "foreground" / "Dog" / "Dog0_a.wav").read_bytes()
    for fold in range(1, 5):
        (tmp_path / "audio" / f"{fold}-a.wav").write_bytes(waveform)
    rows = [f"{fold}-a.wav\tdog\t{fold}\n" for fold in range(1, 5)]
    (tmp_path / "metadata.tsv").write_text(HEADER + "".join(rows))
    return tmp_path


def test_esc10_shares_no_source_between_splits(shared_data: Path) -> None:
    options = options_of(shared_data / "esc10", source_pattern=r"^(\d+-\d+)")
    sources = {}
    for split, own_folds in FOLDS.items():
        soundbank = build_table_soundbank(options, split, seed=0)
        assert len(soundbank.labels) == 10
        rng = np.random.default_rng(0)
        drawn = [soundbank.draw_event(rng, label) for label in soundbank.labels for _ in range(20)]
        sources[split] = {sound.source for sound in drawn}
        folds = {int(Path(sound.recording).name[0]) for sound in drawn}
        assert folds == set(own_folds)
    assert not sources["train"] & sources["test"]
    assert not sources["train"] & sources["validation"]
    assert not sources["validation"] & sources["test"]


def test_two_splits_may_not_share_a_fold(small: Path) -> None:
    with pytest.raises(OptionsError, match=r"folds: splits 'train' and 'test' share fold 2, so recordings would leak"):
        options_of(small, folds={"train": [1, 2], "test": [2]})


def test_two_splits_may_not_share_a_source(small: Path) -> None:
    (small / "audio" / "1-b.wav").write_bytes((small / "audio" / "1-a.wav").read_bytes())
    with (small / "metadata.tsv").open("a") as table:
        table.write("1-b.wav\tdog\t4\n")
    with pytest.raises(CorpusError, match=r"metadata.tsv, row 6: source '1' is in splits 'train' and 'test'"):
        build_table_soundbank(options_of(small, source_pattern=r"^(\d+)"), "train", 0)


def test_folds_that_no_split_names_are_left_out(small: Path) -> None:
    soundbank = build_table_soundbank(options_of(small, folds={"train": [2]}), "train", 0)
    assert Path(soundbank.draw_event(np.random.default_rng(0), "dog").recording).name == "2-a.wav"


def test_a_background_folder_is_shared_out_too(small: Path, folder_bank: Path) -> None:
    options = options_of(small, background_folder=str(folder_bank / "background"))
    rooms = []
    for split in FOLDS:
        backgrounds = build_table_soundbank(options, split, 0).backgrounds
        rng = np.random.default_rng(0)
        rooms.append({backgrounds.draw(rng, 100).source for _ in range(50)})
    assert len(set.union(*rooms)) == sum(map(len, rooms)) == 6


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("filename\tevent_label\nx\ty\n", r"row 1: no column 'fold'"),
        (HEADER + "1-a.wav\tdog\tone\n", r"row 2: .* whole number as fold"),
        (HEADER + "1-a.wav\n", r"row 2: filename, event_label"),
        (HEADER + "gone.wav\tdog\t1\n", r"row 2: .*gone.wav is not there"),
    ],
)
def test_a_bad_row_is_named(small: Path, table: str, sentence: str) -> None:
    (small / "metadata.tsv").write_text(table)
    with pytest.raises((CorpusError, EventTableError), match=sentence):
        build_table_soundbank(options_of(small), "train", 0)


def test_a_missing_table_is_refused(small: Path) -> None:
    (small / "metadata.tsv").unlink()
    with pytest.raises(CorpusError, match=r"metadata.tsv: no such table"):
        build_table_soundbank(options_of(small), "train", 0)
