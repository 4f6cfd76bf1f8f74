"""Tables of one's own: columns, separators, filters, names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from desed_task.clips import ClipSet
from desed_task.data.corpora.manifest import ManifestOptions, read_manifest, read_manifest_classes
from desed_task.errors import CorpusError


def options(table: Path, **keys: Any) -> ManifestOptions:
    return ManifestOptions.model_validate({"name": "manifest", "table": table} | keys)


def read(table: Path, labels: Any = None, **keys: Any) -> ClipSet:
    return read_manifest(options(table, **keys), "weak", labels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.wav", "b.wav", "sub/a.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_csv_with_joined_labels(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text('filename,labels\na.wav,"dog, cat"\nb.wav,dog\nc.wav,cat\n')
    clips = read(table)
    assert clips.tags == {"a": ("dog", "cat"), "b": ("dog",)}
    assert (clips.name, clips.missing) == ("list", (folder / "c.wav",))


def test_columns_separators_and_filters_of_ones_own(folder: Path) -> None:
    table = folder / "list.tsv"
    table.write_text("clip\tfirst\tsecond\tfold\na\tdog|cat\tcow\t1\nb\thorse, young\t\t2\nsub/a\tdog\t\t3\n")
    keys = {"path_column": "clip", "label_columns": ["first", "second"], "label_separator": "|"}
    assert read(table, where={"fold": [1, 2]}, **keys).tags == {"a": ("dog", "cat", "cow"), "b": ("horse, young",)}
    whole = keys | {"label_columns": ["first"], "label_separator": None}
    assert read(table, where={"fold": ["1"]}, **whole).tags == {"a": ("dog|cat",)}
    assert read_manifest_classes(options(table, **keys)) == ("cat", "cow", "dog", "horse, young")


def test_names_that_repeat_in_folders_are_told_apart_by_path(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text("path,label\na.wav,dog\nsub/a.wav,cat\n")
    with pytest.raises(CorpusError, match="are both called a; rename one"):
        read(table)
    assert read(table, audio_ids="path").tags == {"a": ("dog",), "sub_a": ("cat",)}


def test_a_json_with_lists_and_mids(folder: Path) -> None:
    (folder / "classes.csv").write_text("0,Dog,/m/0bt9lr\n1,Cat,/m/01yrx\n")
    table = folder / "list.json"
    rows = [{"audio": "a.wav", "tags": ["/m/0bt9lr", "Cat"]}, {"audio": "b.wav", "tags": "/m/01yrx"}]
    table.write_text(json.dumps(rows))
    assert read(table, classes=folder / "classes.csv").tags == {"a": ("Dog", "Cat"), "b": ("Cat",)}
    table.write_text(json.dumps({"data": rows}))
    assert read(table).tags == {"a": ("/m/0bt9lr", "Cat"), "b": ("/m/01yrx",)}


def test_recordings_below_another_root_without_labels(folder: Path) -> None:
    table = folder / "lists" / "list.csv"
    table.parent.mkdir()
    table.write_text("fname\na\nb\n")
    assert read_manifest(options(table, root=folder), "none").files_present == 2


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        (
            "clip,labels\na.wav,dog\n",
            {},
            r"none of its columns is known for `path_column` \(columns here: clip, labels\)",
        ),
        ("filename,x\na.wav,dog\n", {}, r"none of its columns is known for `label_columns`"),
        ("filename,x\na.wav,dog\n", {"label_columns": ["y"]}, r"no column 'y' \(columns here: filename, x\)"),
        ("filename,labels\na.wav,dog\n", {"where": {"fold": [1]}}, "row 2: no column 'fold' of `where`"),
        ("filename,labels,fold\na.wav,dog,2\n", {"where": {"fold": [1]}}, "no row has the values of `where`"),
        ("filename,labels\na.wav,dog,cat\n", {}, "row 2: another number of cells than the header"),
        ("filename,labels\na.wav\n", {}, "row 2: another number of cells than the header"),
        ("filename,labels\n,dog\n", {}, "row 2: no path in 'filename'"),
        ("filename,labels\n", {}, "lists no recordings"),
        ("filename,labels\na.wav,fox\n", {"classes": "classes.csv"}, "row 2: label 'fox' is not in .*classes"),
    ],
)
def test_faults_are_named(folder: Path, text: str, keys: dict[str, Any], message: str) -> None:
    table = folder / "list.csv"
    table.write_text(text)
    (folder / "classes.csv").write_text("0,Dog,/m/0bt9lr\n")
    if "classes" in keys:
        keys = keys | {"classes": folder / "classes.csv"}
    with pytest.raises(CorpusError, match=rf"list\.csv.*{message}"):
        read(table, **keys)


def test_an_unknown_class_is_named(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text("filename,labels\na.wav,dog\n")
    with pytest.raises(CorpusError, match=r"class 'dog' of a is not in the label set"):
        read(table, ("cat",))


def test_a_column_says_which_clips_belong_together(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text("filename,labels,uploader\na.wav,dog,ann\nb.wav,dog,\n")
    assert read(table, group_column="uploader").groups == {"a": "ann"}
    assert read(table).groups == {}
    with pytest.raises(CorpusError, match=r"row 2: no column 'source' of `group_column`; correct the name"):
        read(table, group_column="source")
