"""The ensemble recipe as a user runs it: the mean of systems by name, the report beside each of them, the refusals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from desed_task.audio.reading import read_waveform, write_waveform
from desed_task.detector import Detector
from desed_task.errors import CorpusError, DesedTaskError, EventTableError, OptionsError
from desed_task.formats.clip_scores import ClipScores, read_clip_scores, write_clip_scores
from desed_task.labels import LabelSet
from recipes.ensemble import main


def write(path: Path, audio_ids: Sequence[str], labels: Sequence[str], probs: Sequence[Sequence[float]]) -> Path:
    write_clip_scores(ClipScores(tuple(audio_ids), np.array(probs, np.float32), LabelSet(labels)), path)
    return path


@pytest.fixture
def two(tmp_path: Path) -> list[str]:
    """Two systems that list clips and classes in different orders. Each ranks one class wrong; their mean none."""
    first = write(tmp_path / "a.npz", ["x", "y", "z"], ["dog", "cat"], [[0.9, 0.6], [0.2, 0.5], [0.3, 0.1]])
    second = write(tmp_path / "b.npz", ["z", "y", "x"], ["cat", "dog"], [[0.3, 0.7], [0.9, 0.1], [0.2, 0.6]])
    return [str(first), str(second)]


TRUTH = {
    "weak.tsv": "filename\tevent_labels\nx.wav\tdog\ny.wav\tcat\nz.wav\t\nelsewhere.wav\tdog\n",
    "strong.tsv": "filename\tonset\toffset\tevent_label\nx.wav\t0\t1\tdog\ny.wav\t0\t1\tcat\nz.wav\t\t\t\n",
    "eval.csv": "fname,labels,mids\nx,dog,/m/1\ny,cat,/m/2\nz,,\n",
    "list.json": '{"data": [{"wav": "a/x.wav", "labels": "dog"}, {"wav": "a/y.wav", "labels": "cat"}, '
    '{"wav": "z.wav", "labels": ""}]}',
}


@pytest.mark.parametrize("table", TRUTH)
def test_the_mean_is_written_and_scored_beside_its_members(
    two: list[str], tmp_path: Path, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / table).write_text(TRUTH[table])
    output = tmp_path / "deep" / "out"
    assert main(["--scores", *two, "--ground-truth", str(tmp_path / table), "--output_dir", str(output)]) == 0
    mean = read_clip_scores(output / "scores.npz")
    assert (mean.audio_ids, list(mean.labels)) == (("x", "y", "z"), ["dog", "cat"])
    np.testing.assert_allclose(mean.probs, [[0.75, 0.4], [0.15, 0.7], [0.5, 0.2]], rtol=1e-6)
    report = json.loads((output / "report.json").read_text())
    assert report["map"] == report["mauc"] == 1.0
    assert (output / "per_class.csv").is_file()
    # a ranks cat y second of three, b dog x second: average precisions of 1 and 1/2
    rows = [[cell.strip() for cell in line.split("|")] for line in capsys.readouterr().out.splitlines()]
    map_of = {row[1]: row[2].split()[0] for row in rows if len(row) > 3 and row[1] in (*two, "ensemble")}
    assert {name: float(figure) for name, figure in map_of.items()} == {two[0]: 0.75, two[1]: 0.75, "ensemble": 1.0}


def test_without_a_ground_truth_nothing_is_scored(two: list[str], tmp_path: Path) -> None:
    assert main(["--scores", *two, "--output_dir", str(tmp_path / "out")]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scores.npz"]


def test_tags_of_the_evaluation_are_scores(two: list[str], tmp_path: Path) -> None:
    rows = [f"{clip}.wav\t{label}\t{score}" for clip in "xyz" for label, score in (("cat", 1.0), ("dog", 0.0))]
    (tmp_path / "tags.tsv").write_text("\n".join(["filename\tevent_label\tscore", *rows]) + "\n")
    assert main(["--scores", two[0], str(tmp_path / "tags.tsv"), "--output_dir", str(tmp_path / "out")]) == 0
    assert read_clip_scores(tmp_path / "out" / "scores.npz").probs[0].tolist() == pytest.approx([0.45, 0.8])


def test_bundles_listen(tiny_tagger: Path, tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    rng = np.random.default_rng(0)
    for name, loudness in (("soft", 0.01), ("loud", 0.2), ("unknown", 0.1)):
        noise = (loudness * rng.normal(size=30_000)).astype(np.float32)
        write_waveform(tmp_path / "audio" / f"{name}.wav", noise, 16_000)
    (tmp_path / "truth.csv").write_text("filename,label\nsoft.wav,quiet\nloud.wav,loud\n")
    places = ["--audio_dir", str(tmp_path / "audio"), "--ground_truth", str(tmp_path / "truth.csv")]
    systems = ["--bundle", str(tiny_tagger), str(tiny_tagger), "--device", "cpu"]
    assert main([*systems, *places, "--output_dir", str(tmp_path / "out")]) == 0
    mean = read_clip_scores(tmp_path / "out" / "scores.npz")
    assert set(mean.audio_ids) == {"soft", "loud"}
    alone = Detector(tiny_tagger, device="cpu").scores(read_waveform(tmp_path / "audio" / "loud.wav", 16_000))
    np.testing.assert_allclose(mean.by_audio_id()["loud"], alone.clip_values, rtol=1e-6)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["map"] == 1.0


@pytest.mark.parametrize(
    ("audio_ids", "labels", "message"),
    [
        (["x", "y"], ["dog", "cat"], r"b\.npz: no scores of clip 'z' .*a\.npz has them"),
        (["x", "y", "z"], ["dog"], r"b\.npz: no scores of class 'cat'"),
        (["x", "y", "z"], ["dog", "cat", "cow"], r"b\.npz: other classes than .*a\.npz \('cow'\)"),
    ],
)
def test_systems_of_other_clips_or_classes_are_refused(
    two: list[str], tmp_path: Path, audio_ids: list[str], labels: list[str], message: str
) -> None:
    write(tmp_path / "b.npz", audio_ids, labels, [[0.5] * len(labels)] * len(audio_ids))
    with pytest.raises(EventTableError, match=message):
        main(["--scores", *two, "--output_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_averaged_or_scored_is_refused(two: list[str], tiny_tagger: Path, tmp_path: Path) -> None:
    output = ["--output_dir", str(tmp_path / "out")]
    with pytest.raises(OptionsError, match="1 system given; name two or more"):
        main(["--scores", two[0], *output])
    with pytest.raises(OptionsError, match="--audio_dir: missing"):
        main(["--bundle", str(tiny_tagger), *output])
    (tmp_path / "other.tsv").write_text("filename\tevent_labels\nw.wav\tdog\n")
    with pytest.raises(CorpusError, match="scores none of the 1 clips"):
        main(["--scores", *two, "--ground_truth", str(tmp_path / "other.tsv"), *output])
    (tmp_path / "cow.tsv").write_text("filename\tevent_labels\nx.wav\tcow\n")
    with pytest.raises(DesedTaskError, match="class 'cow' of the ground truth"):
        main(["--scores", *two, "--ground_truth", str(tmp_path / "cow.tsv"), *output])
    with pytest.raises(DesedTaskError, match=r"truth\.tsv"):
        main(["--scores", *two, "--ground_truth", str(tmp_path / "truth.tsv"), *output])
    assert not (tmp_path / "out").exists()
