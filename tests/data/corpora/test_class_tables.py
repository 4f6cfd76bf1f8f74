"""Tables of classes in their published formats, and labels that hold commas themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from desed_task.data.corpora.class_tables import ClassTable, read_class_names, read_class_table
from desed_task.errors import CorpusError

NAMES = ("Speech", "Male speech, man speaking", "Dog")
MIDS = ("/m/09x0r", "/m/05zppz", "/m/0bt9lr")
FILES = {
    "class_labels_indices.csv": 'index,mid,display_name\n0,/m/09x0r,"Speech"\n'
    '2,/m/0bt9lr,"Dog"\n1,/m/05zppz,"Male speech, man speaking"\n',
    "vocabulary.csv": '0,Speech,/m/09x0r\n1,"Male speech, man speaking",/m/05zppz\n2,Dog,/m/0bt9lr\n',
    "no_header.csv": '0,/m/09x0r,Speech\n1,/m/05zppz,"Male speech, man speaking"\n2,/m/0bt9lr,Dog\n',
    "lbl_map.json": '{"Dog": 2, "Speech": 0, "Male speech, man speaking": 1}',
    "names.json": '["Speech", "Male speech, man speaking", "Dog"]',
    "names.txt": "Speech\nMale speech, man speaking\n\nDog\n",
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_names_in_the_order_of_the_class_axis(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FILES[name])
    assert read_class_names(tmp_path / name) == NAMES
    assert read_class_table(tmp_path / name).mids == (MIDS if name.endswith(".csv") else ())


TABLE = ClassTable(NAMES, MIDS)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("/m/0bt9lr,/m/09x0r", ("Dog", "Speech")),
        ("Male speech, man speaking,Speech", ("Male speech, man speaking", "Speech")),
        ("Dog, Speech ,Dog", ("Dog", "Speech")),
        ("/m/0bt9lr,Male speech, man speaking", ("Dog", "Male speech, man speaking")),
        ("Dog,", ("Dog",)),
        ("", ()),
    ],
)
def test_joined_labels_are_mids_or_names_with_or_without_commas(text: str, names: tuple[str, ...]) -> None:
    assert TABLE.split(text) == names


def test_a_label_of_another_table_is_named() -> None:
    with pytest.raises(KeyError, match="man speaking"):
        TABLE.split("Dog,man speaking")


def test_the_published_tables(shared_data: Path) -> None:
    audioset = read_class_table(shared_data / "audioset" / "class_labels_indices.csv")
    assert (len(audioset.names), audioset.name_of["/m/05zppz"]) == (527, "Male speech, man speaking")
    assert len(read_class_names(shared_data / "fsd50k" / "class_labels_indices.csv")) == 200
    maps = sorted((shared_data / "gise51").glob("*.json"))
    assert sorted(len(read_class_names(path)) for path in maps) == [50, 51]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.csv",
            "name,mid\nDog,/m/0bt9lr\n",
            "row 1: neither the columns index, mid, display_name nor a class number",
        ),
        ("a.csv", "", "row 1: neither the columns"),
        ("a.csv", "index,mid,display_name\n0,/m/09x0r\n", "row 2: must hold a class number, a mid and a name"),
        ("a.csv", "0,Dog,/m/1\n2,Cat,/m/2\n", "class numbers must be 0 to 1, each once; 1 is not there"),
        ("a.json", '{"Dog": "0"}', "no map of classes"),
        ("a.json", "{", "not valid JSON"),
        ("a.txt", "Dog\nDog\n", "class 'Dog' stands twice"),
        ("a.txt", "", "the label set is empty"),
    ],
)
def test_other_tables_are_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CorpusError, match=rf"{name[:1]}\.\w+.*{message}"):
        read_class_table(tmp_path / name)
    with pytest.raises(CorpusError, match=r"nowhere\.csv: no such table"):
        read_class_table(tmp_path / "nowhere.csv")
