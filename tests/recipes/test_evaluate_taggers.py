"""Evaluation of taggers: figures by hand, every kind of list, crops, chunks, folders of runs, refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from tagger_checkpoints import write_tagger
from tagging_clips import LABELS, SAMPLE_RATE, tags_of, write_clips

from desed_task.audio.reading import read_waveform, write_waveform
from desed_task.errors import CheckpointError, CorpusError, DesedTaskError, OptionsError
from desed_task.formats.clip_scores import read_clip_scores
from desed_task.listening import open_checkpoint
from desed_task.options import write_options
from desed_task.runs.tagging_evaluation import Crop
from desed_task.tagging import load_tagger
from recipes import evaluate, export_onnx

pytestmark = pytest.mark.usefixtures("one_thread")

CLIPS = 10


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ten recordings and `clips.csv`."""
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder, {"eval": CLIPS})
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger("cnn14", tmp_path_factory.mktemp("tagger") / "tagger.ckpt")


@pytest.fixture(scope="module")
def evaluated(checkpoint: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("evaluated") / "out"
    assert evaluate.main(["--checkpoint", str(checkpoint), *on(clips / "clips.csv", output)]) == 0
    return output


def on(table: Path, output: Path) -> list[str]:
    return ["--manifest", str(table), "--output_dir", str(output), "--device", "cpu"]


def truth() -> np.ndarray:
    return np.array([[label in tags_of(clip) for label in LABELS] for clip in range(CLIPS)])


def test_figures_are_those_of_scikit_learn(evaluated: Path) -> None:
    scores = read_clip_scores(evaluated / "scores.npz")
    assert scores.audio_ids == tuple(f"eval_{clip}" for clip in range(CLIPS))
    report = json.loads((evaluated / "report.json").read_text())
    assert report["map"] == pytest.approx(average_precision_score(truth(), scores.probs, average="macro"))
    assert report["mauc"] == pytest.approx(roc_auc_score(truth(), scores.probs, average="macro"))
    assert report["dprime"] is not None
    assert set(report["per_class"]) == set(LABELS)
    assert (report["files_present"], report["files_expected"]) == (CLIPS, CLIPS)


def test_scores_tags_and_tables_say_the_same(evaluated: Path, checkpoint: Path) -> None:
    scores = read_clip_scores(evaluated / "scores.npz").by_audio_id()
    with (evaluated / "tags.tsv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert len(rows) == CLIPS * len(LABELS)
    for row in rows:
        probs = scores[row["filename"].removesuffix(".wav")]
        assert float(row["score"]) == pytest.approx(float(probs[LABELS.index(row["event_label"])]), abs=0)
    first = [float(row["score"]) for row in rows[:3]]
    assert first == sorted(first, reverse=True)
    report = json.loads((evaluated / "report.json").read_text())
    with (evaluated / "results.csv").open(newline="") as stream:
        header, row = list(csv.reader(stream))
    assert header == ["Model", "mAP", "mAUC", "dprime", "ckpt_path"]
    assert [float(cell) for cell in row[1:4]] == [report["map"], report["mauc"], report["dprime"]]
    assert row[4] == str(checkpoint)
    assert (evaluated / "per_class.csv").read_text().startswith("event_label,num_clips,average_precision")


def test_the_published_command_line_prints_the_published_figures(
    checkpoint: Path, clips: Path, evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label_map = tmp_path / "lbl_map.json"
    label_map.write_text(json.dumps({label: number for number, label in enumerate(LABELS)}))
    published = ["--ckpt_path", str(checkpoint), "--eval_csv", str(clips / "clips.csv"), "--lbl_map", str(label_map)]
    assert evaluate.main([*published, "--device", "cpu"]) == 0
    report = json.loads((evaluated / "report.json").read_text())
    figures = " | ".join(f"{report[name]:.6f}" for name in ("map", "mauc", "dprime"))
    assert figures in " ".join(capsys.readouterr().out.split())
    label_map.write_text(json.dumps({label: number for number, label in enumerate(reversed(LABELS))}))
    with pytest.raises(OptionsError, match=r"lbl_map\.json: its classes are not those .*class 0 is 'tick', not 'hum'"):
        evaluate.main([*published, "--device", "cpu"])


def test_a_bundle_and_a_detector_are_evaluated_as_taggers(
    checkpoint: Path, small_checkpoint: Path, clips: Path, evaluated: Path, tmp_path: Path
) -> None:
    export_onnx.main(["--checkpoint", str(checkpoint), "--output", str(tmp_path / "bundle")])
    assert evaluate.main(["--bundle", str(tmp_path / "bundle"), *on(clips / "clips.csv", tmp_path / "out")]) == 0
    found, expected = (read_clip_scores(folder / "scores.npz") for folder in (tmp_path / "out", evaluated))
    np.testing.assert_allclose(found.probs, expected.probs, atol=1e-5)
    table = tmp_path / "two.csv"
    table.write_text("filename,labels\neval_1.wav,hiss\neval_3.wav,hum\n")
    flags = [*on(table, tmp_path / "detector"), "--audio_dir", str(clips / "audio")]
    assert evaluate.main(["--checkpoint", str(small_checkpoint), *flags, "--model", "teacher"]) == 0
    assert json.loads((tmp_path / "detector" / "report.json").read_text())["accuracy"] is not None


# Lists.


def test_lists_of_every_kind_lead_to_the_same_figures(
    checkpoint: Path, clips: Path, evaluated: Path, tmp_path: Path
) -> None:
    mids = {"hum": "/m/01", "hiss": "/m/02", "tick": "/t/03"}
    tags = {f"eval_{clip}": tags_of(clip) for clip in range(CLIPS)}
    audio = clips / "audio"
    fsd50k = tmp_path / "eval.csv"
    rows = [f'{name},"{",".join(of)}","{",".join(mids[label] for label in of)}"' for name, of in tags.items()]
    fsd50k.write_text("\n".join(["fname,labels,mids", *rows]) + "\n")
    audioset = tmp_path / "eval.json"
    entries = [
        {"wav": str(audio / f"{name}.wav"), "labels": ",".join(mids[label] for label in of)}
        for name, of in tags.items()
    ]
    audioset.write_text(json.dumps({"data": entries}))
    classes = tmp_path / "labels.csv"
    classes.write_text(
        "index,mid,display_name\n" + "".join(f"{n},{mids[label]},{label}\n" for n, label in enumerate(LABELS))
    )
    kinds = {
        "fsd50k": [*on(fsd50k, tmp_path / "fsd50k"), "--audio_dir", str(audio)],
        "audioset": [*on(audioset, tmp_path / "audioset"), "--label_csv", str(classes)],
    }
    expected = read_clip_scores(evaluated / "scores.npz")
    for kind, flags in kinds.items():
        assert evaluate.main(["--checkpoint", str(checkpoint), *flags]) == 0
        assert np.array_equal(read_clip_scores(tmp_path / kind / "scores.npz").probs, expected.probs)
        reports = [json.loads((folder / "report.json").read_text()) for folder in (tmp_path / kind, evaluated)]
        assert reports[0]["map"] == reports[1]["map"]


def test_missing_recordings_are_counted(checkpoint: Path, clips: Path, tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    table.write_text((clips / "clips.csv").read_text() + "audio/lost.wav,hum,eval,x\n")
    flags = [*on(table, tmp_path / "out"), "--audio_dir", str(clips)]
    assert evaluate.main(["--checkpoint", str(checkpoint), *flags]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["files_present"], report["files_expected"]) == (CLIPS, CLIPS + 1)
    assert any("10 of 11 files present" in warning for warning in report["warnings"])


@pytest.fixture(scope="module")
def chunks(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """eval.csv of chunks of 1 s, 0.5 s apart, as fsd50k-pytorch cuts recordings: tails are repeated."""
    folder = tmp_path_factory.mktemp("chunks")
    rows = ["files,labels,ext"]
    for clip in range(CLIPS):
        waveform = read_waveform(clips / "audio" / f"eval_{clip}.wav", SAMPLE_RATE)
        starts = range(0, len(waveform), SAMPLE_RATE // 2) if len(waveform) >= SAMPLE_RATE else [0]
        for number, start in enumerate(starts):
            chunk = np.resize(waveform[start : start + SAMPLE_RATE], SAMPLE_RATE)
            name = f"eval{clip}_{number:04d}.wav"
            write_waveform(folder / name, chunk, SAMPLE_RATE)
            rows.append(f'{folder / name},"{",".join(tags_of(clip))}",eval{clip}')
    (folder / "eval.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_chunks_on_disk_are_heard_as_chunks_cut_on_the_fly(chunks: Path, clips: Path, tmp_path: Path) -> None:
    view = {"view": {"hop_seconds": 0.5, "tail": "tile", "short": "tile", "clip_scores": "mean_logit"}}
    tagger = write_tagger("cnn14", tmp_path / "tagger.ckpt", view)
    for name, table in (("fly", clips / "clips.csv"), ("disk", chunks / "eval.csv")):
        assert evaluate.main(["--checkpoint", str(tagger), *on(table, tmp_path / name)]) == 0
    fly, disk = (read_clip_scores(tmp_path / name / "scores.npz") for name in ("fly", "disk"))
    assert disk.audio_ids == tuple(f"eval{clip}" for clip in range(CLIPS))
    np.testing.assert_allclose(disk.probs, fly.probs, atol=2e-5)
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("fly", "disk")]
    assert reports[1]["files_expected"] == CLIPS
    assert reports[0]["map"] == reports[1]["map"]


# Crops.


def test_a_crop_takes_the_middle_or_the_beginning() -> None:
    waveform = np.arange(10, dtype=np.float32)
    assert Crop(4.0).cut(waveform, 1).tolist() == [3, 4, 5, 6]
    assert Crop(3.0).cut(waveform, 1).tolist() == [3, 4, 5]
    assert Crop(4.0, "beginning").cut(waveform, 1).tolist() == [0, 1, 2, 3]
    assert Crop(20.0).cut(waveform, 1).tolist() == waveform.tolist()
    assert Crop().cut(waveform, 1).tolist() == waveform.tolist()
    with pytest.raises(OptionsError, match="--crop_seconds 0: must be more than 0"):
        Crop(0.0)


def test_a_cropped_recording_is_heard_as_its_middle(checkpoint: Path, clips: Path, tmp_path: Path) -> None:
    flags = [*on(clips / "clips.csv", tmp_path / "out"), "--crop_seconds", "0.7", "--top_k", "1"]
    assert evaluate.main(["--checkpoint", str(checkpoint), *flags]) == 0
    found = read_clip_scores(tmp_path / "out" / "scores.npz").by_audio_id()
    listener = open_checkpoint(checkpoint, device="cpu")
    waveform = read_waveform(clips / "audio" / "eval_9.wav", listener.sample_rate)
    kept = round(0.7 * listener.sample_rate)
    first = (len(waveform) - kept) // 2
    expected = listener.clip_probs([("x", waveform[first : first + kept])])["x"]
    np.testing.assert_allclose(found["eval_9"], expected, atol=1e-6)
    assert len((tmp_path / "out" / "tags.tsv").read_text().splitlines()) == 1 + CLIPS


# Folders of runs.


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs, one of them two folders deep, a folder that is none, and one that was never trained."""
    folder = tmp_path / "exp"
    for name in ("a/version_10", "a/version_9"):
        (folder / name).mkdir(parents=True)
        path = write_tagger("cnn14" if name.endswith("9") else "transformer", folder / name / "epoch=1-step=4.ckpt")
        write_options(load_tagger(path).options, folder / name / "conf.yaml")
    (folder / "notes").mkdir()
    (folder / "b" / "version_0").mkdir(parents=True)
    (folder / "b" / "version_0" / "conf.yaml").write_text("labels: [x]\n")
    return folder


def test_every_run_below_a_folder_is_a_row(runs: Path, clips: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert evaluate.main(["--folder", str(runs), *on(clips / "clips.csv", output)]) == 0
    with (output / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["Model"] for row in rows] == ["a/version_9", "a/version_10"]
    assert [Path(row["ckpt_path"]).name for row in rows] == ["epoch=1-step=4.ckpt"] * 2
    for row in rows:
        report = json.loads((output / row["Model"] / "report.json").read_text())
        assert float(row["mAP"]) == report["map"]
    assert rows[0]["mAP"] != rows[1]["mAP"]


def test_a_run_that_cannot_be_heard_leaves_the_others(
    runs: Path, clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (runs / "a" / "version_9" / "epoch=1-step=4.ckpt").write_text("not weights")
    output = tmp_path / "out"
    assert evaluate.main(["--folder", str(runs), *on(clips / "clips.csv", output)]) == 2
    assert "error: a/version_9: " in caplog.text
    assert "not a readable checkpoint" in caplog.text
    assert len((output / "results.csv").read_text().splitlines()) == 2


def test_a_set_of_a_conf_is_named(checkpoint: Path, clips: Path, tmp_path: Path) -> None:
    table = {"name": "manifest", "table": str(clips / "clips.csv")}
    of_conf = load_tagger(checkpoint).options.model_dump_json()
    tree = json.loads(of_conf)
    tree["data"]["evaluation"] = {"late": {**table, "where": {"source": ["eval_4", "eval_5"]}}, "all": table}
    (tmp_path / "conf.yaml").write_text(json.dumps(tree))
    start = ["--checkpoint", str(checkpoint), "--conf_file", str(tmp_path / "conf.yaml"), "--device", "cpu"]
    for flags, number in (([], 3), (["--on", "all"], CLIPS)):
        assert evaluate.main([*start, *flags, "--output_dir", str(tmp_path / "out")]) == 0
        assert json.loads((tmp_path / "out" / "report.json").read_text())["files_present"] == number
    with pytest.raises(OptionsError, match=r"--on test: .*conf\.yaml has no such set; it has late, all, validation"):
        evaluate.main([*start, "--on", "test"])


# Refusals.


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        (["--reference"], OptionsError, "--reference: does nothing beside --manifest"),
        (["--durations", "d.tsv"], OptionsError, "--durations: does nothing beside --manifest"),
        (["--on", "eval"], OptionsError, "--on: names a set of --conf_file, which is missing"),
        (["--crop_seconds", "-1"], OptionsError, "--crop_seconds -1: must be more than 0"),
        (["--audio_dir", "nowhere"], CorpusError, "none of its 10 recordings is there"),
    ],
)
def test_flags_that_do_nothing_are_refused(
    checkpoint: Path, clips: Path, tmp_path: Path, flags: list[str], error: type[DesedTaskError], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate.main(["--checkpoint", str(checkpoint), *on(clips / "clips.csv", tmp_path / "out"), *flags])
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_is_refused(checkpoint: Path, clips: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    table = tmp_path / "violin.csv"
    table.write_text("filename,labels\neval_1.wav,violin\n")
    start = ["--checkpoint", str(checkpoint)]
    with pytest.raises(CorpusError, match="violin"):
        evaluate.main([*start, *on(table, output), "--audio_dir", str(clips / "audio")])
    with pytest.raises(CorpusError, match=r"none\.csv: no such table"):
        evaluate.main([*start, *on(tmp_path / "none.csv", output)])
    with pytest.raises(CheckpointError, match="no trained run"):
        evaluate.main(["--folder", str(clips), *on(clips / "clips.csv", output)])
    with pytest.raises(OptionsError, match="--output_dir: missing; name the folder"):
        evaluate.main(["--folder", str(clips), "--manifest", str(clips / "clips.csv")])
    with pytest.raises(OptionsError, match="--audio_dir: missing; name the folder"):
        evaluate.main([*start, "--ground_truth", "t.tsv", "--output_dir", str(output)])
    assert not output.exists()
