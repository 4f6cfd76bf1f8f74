"""A store that is written part by part: killed after any step it goes on, and ends as if it never was."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from desed_task.clips import Clip
from desed_task.embeddings import parts as module
from desed_task.embeddings.layouts import LayoutName
from desed_task.embeddings.origin import Origin, recording_of
from desed_task.embeddings.parts import Parts, Plan, difference_of_store
from desed_task.embeddings.store_file import Contents
from desed_task.errors import CorpusError

ORIGIN = Origin({"model": {"width": 1.0}}, "ab" * 32, 10.0)
LAYOUTS: tuple[LayoutName, ...] = ("compact", "2022", "2023")


class Killed(BaseException):
    """What nobody catches."""


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_CLIPS", 2)


def plan_in(folder: Path, layout: LayoutName = "compact", count: int = 5) -> Plan:
    """Five recordings of which parts of 2, 2 and 1 are made."""
    paths = [folder / f"clip_{number}.wav" for number in range(count)]
    for path in paths:
        if not path.exists():
            path.write_bytes(path.name.encode())
    return Plan(layout, Contents("frame", None, ORIGIN), tuple(Clip(path.stem, path, 10.0) for path in paths))


def embedding(clip: Clip) -> NDArray[np.float32]:
    """(3, 2), other ones of each clip."""
    return np.full((3, 2), int(clip.audio_id[-1]), dtype=np.float32) + np.arange(2, dtype=np.float32)


def extract(parts: Parts) -> list[int]:
    """All that an extraction does; the parts that lacked."""
    lacking = parts.begin(overwrite=False)
    for number in lacking:
        clips = parts.clips[number]
        values = np.stack([embedding(clip) for clip in clips])
        parts.write(number, {"frame": values, "global": values[:, :1]}, [recording_of(clip.path) for clip in clips])
    parts.assemble()
    return lacking


def everything_in(path: Path) -> dict[str, object]:
    with h5py.File(path, "r") as file:
        found: dict[str, object] = {name: str(file.attrs[name]) for name in file.attrs}
        for name in file:
            found[name] = plain(file[name][:])
            found[f"{name} attributes"] = {key: int(row) for key, row in file[name].attrs.items()}
    return found


def plain(values: object) -> object:
    """Arrays, and arrays of arrays, as lists."""
    return [plain(one) for one in values] if isinstance(values, np.ndarray) else values


@pytest.mark.parametrize("layout", LAYOUTS)
def test_killed_before_any_rename_it_ends_as_if_it_never_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: LayoutName
) -> None:
    plan = plan_in(tmp_path, layout)
    assert extract(Parts(tmp_path / "whole.hdf5", plan)) == [0, 1, 2]
    whole = everything_in(tmp_path / "whole.hdf5")
    assert not (tmp_path / "whole.hdf5.parts").exists()
    replace, lacked = Path.replace, []
    for allowed in range(5):  # of the plan, three parts, the store
        path, left = tmp_path / f"{allowed}.hdf5", [allowed]

        def replace_or_die(source: Path, target: Path, left: list[int] = left) -> Path:
            if not left[0]:
                raise Killed
            left[0] -= 1
            return replace(source, target)

        monkeypatch.setattr(Path, "replace", replace_or_die)
        with pytest.raises(Killed):
            extract(Parts(path, plan))
        monkeypatch.setattr(Path, "replace", replace)
        assert not path.exists()
        lacked.append(extract(Parts(path, plan)))
        assert everything_in(path) == whole
        assert sorted(file.name for file in tmp_path.iterdir() if file.name.startswith(f"{allowed}.")) == [path.name]
    assert lacked == [[0, 1, 2], [0, 1, 2], [1, 2], [2], []]


def begun(folder: Path, plan: Plan) -> Parts:
    """The first of three parts is there."""
    parts = Parts(folder / "set.hdf5", plan)
    assert parts.begin(overwrite=False) == [0, 1, 2]
    values = np.stack([embedding(clip) for clip in parts.clips[0]])
    parts.write(0, {"frame": values}, [recording_of(clip.path) for clip in parts.clips[0]])
    return parts


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"contents": Contents("frame", None, ORIGIN._replace(weights="cd" * 32))}, "weights abababababab for cdcdcd"),
        ({"contents": Contents("segments", None, ORIGIN)}, "output frame for segments"),
        ({"layout": "2023"}, "layout compact for 2023"),
    ],
)
def test_parts_of_another_extraction_are_refused_and_may_be_replaced(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    plan = plan_in(tmp_path)
    begun(tmp_path, plan)
    other = Parts(tmp_path / "set.hdf5", plan._replace(**change))  # type: ignore[arg-type]
    with pytest.raises(CorpusError, match=f"parts of another extraction .*{words}.*--overwrite"):
        other.begin(overwrite=False)
    assert Parts(tmp_path / "set.hdf5", plan).begin(overwrite=False) == [1, 2]
    assert other.begin(overwrite=True) == [0, 1, 2]


def test_parts_of_other_recordings_are_refused(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    begun(tmp_path, plan)
    with pytest.raises(CorpusError, match="of 5 recordings, these are 4 others"):
        Parts(tmp_path / "set.hdf5", plan_in(tmp_path, count=4)).begin(overwrite=False)
    plan.clips[3].path.write_bytes(b"another one")
    with pytest.raises(CorpusError, match="the recording clip_3 changed since"):
        Parts(tmp_path / "set.hdf5", plan).begin(overwrite=False)


@pytest.mark.parametrize("keep", [0, 10, 300, -1])
def test_a_part_that_a_disk_lost_some_of_is_made_again(tmp_path: Path, keep: int) -> None:
    plan = plan_in(tmp_path)
    begun(tmp_path, plan)
    path = tmp_path / "set.hdf5.parts" / "00000.npz"
    path.write_bytes(path.read_bytes()[:keep])
    assert Parts(tmp_path / "set.hdf5", plan).begin(overwrite=False) == [0, 1, 2]


def test_parts_without_a_plan_are_nobodys(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    begun(tmp_path, plan)
    (tmp_path / "set.hdf5.parts" / "plan.json").write_text("{")
    assert Parts(tmp_path / "set.hdf5", plan).begin(overwrite=False) == [0, 1, 2]


def test_a_finished_store_is_known_by_embedder_layout_and_recordings(tmp_path: Path) -> None:
    plan, path = plan_in(tmp_path), tmp_path / "set.hdf5"
    extract(Parts(path, plan))
    assert difference_of_store(path, plan) is None
    assert difference_of_store(path, plan._replace(clips=plan.clips[1:3])) is None
    assert difference_of_store(path, plan_in(tmp_path, "2023")) == "layout compact of output frame for 2023 of frame"
    other = Contents("frame", None, ORIGIN._replace(clip_seconds=5.0))
    assert "made by another embedder, clips of 10 s" in str(difference_of_store(path, plan._replace(contents=other)))
    assert "1 of 6 recordings are new, such as" in str(difference_of_store(path, plan_in(tmp_path, count=6)))
    plan.clips[0].path.write_bytes(b"another one")
    assert "1 recordings changed, such as" in str(difference_of_store(path, plan))
