"""Every published tagger's conf trains two steps and is evaluated, on a handful of noise in the layout of its corpus.

Nothing of a conf is changed but where its data lies, its classes (three), its batch (two clips), its length (one epoch)
and, of what would need files that are not here, ImageNet's and AudioSet's weights. Clips of AST's and of 30 s are cut
short, and networks that take a CPU minutes are made smaller (SMALLER); tests/test_tagging_confs.py builds them whole.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import lmdb
import msgpack
import numpy as np
import pytest
import soundfile

from desed_task.audio.reading import write_waveform
from desed_task.formats.clip_scores import ClipScores, write_clip_scores
from desed_task.labels import LabelSet
from desed_task.options import read_options
from desed_task.tagging import TaggingOptions
from recipes.train_tagging import main

OWN = ("demo", "esc10")
CONFS = Path(__file__).resolve().parent.parent / "confs"
TAGGING = sorted(path.stem for path in (CONFS / "tagging").glob("*.yaml") if not path.stem.startswith(OWN))
FAST = ("fsd50k_vgglike", "audioset_mn04", "gise51_resnet20")
MIDS = {"Speech": "/m/09x0r", "Music": "/m/04rlf", "Dog": "/m/0bt9lr"}
FSD50K = {"Accordion": "/m/0mkg", "Bark": "/m/05tny_", "Drum": "/m/026t6"}
# Each is heard in training and in evaluation; the second of a list has two classes.
TAGS = (0,), (1, 2), (2,), (0,)
SAMPLE_RATE = 16_000
SMALLER = {
    "ast": ["model.depth=2", "model.initialisation=none", "model.weights=null"],
    "cnn14": ["model.width=0.25"],
    "tal": ["model.embedding_size=256"],
    "taltrans": ["model.embedding_size=256"],
}


def write_noise(path: Path, seconds: float, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE))
    write_waveform(path, noise.astype(np.float32), SAMPLE_RATE)


def write_fsd50k(root: Path) -> list[str]:
    """Four recordings of train, two of val, two of eval; some longer than a chunk."""
    tables: dict[str, list[list[str]]] = {
        "dev": [["fname", "labels", "mids", "split"]],
        "eval": [["fname", "labels", "mids"]],
    }
    parts = [*[("dev", "train", tags) for tags in TAGS], *[("dev", "val", tags) for tags in TAGS[:2]]]
    parts += [("eval", "", tags) for tags in TAGS[1:3]]
    for number, (whole, split, tags) in enumerate(parts):
        names = [tuple(FSD50K)[tag] for tag in tags]
        row = [str(number), ",".join(names), ",".join(FSD50K[name] for name in names)]
        tables[whole].append([*row, split] if split else row)
        write_noise(root / f"FSD50K.{whole}_audio" / f"{number}.wav", 0.7 + 0.2 * (number % 3), number)
    folder = root / "FSD50K.ground_truth"
    folder.mkdir()
    for name, rows in (*tables.items(), ("dev_type1_2_mean", tables["dev"])):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    write_noise(root / "noise" / "hum.wav", 1.5, 99)
    where = [f"data.{key}.root={root}" for key in ("train.0.corpus", "validation", "evaluation.eval")]
    return [*where, f"labels=[{', '.join(FSD50K)}]"]


def write_audioset(root: Path) -> list[str]:
    """Two clips of the balanced and two of the unbalanced list, two of the evaluation list, and a teacher's scores."""
    names = list(MIDS)
    known: dict[str, list[float]] = {}
    for part, of_part in (("balanced_train", TAGS[:2]), ("unbalanced_train", TAGS[2:]), ("eval", TAGS[1:3])):
        lines = ["# AudioSet", "# num_ytids=2, num_segs=2", "# YTID, start_seconds, end_seconds, positive_labels"]
        for number, tags in enumerate(of_part):
            video_id = f"{part[:4]}-{number}"
            mids = ",".join(MIDS[names[tag]] for tag in tags)
            lines.append(f'{video_id}, 0.000, 10.000, "{mids}"')
            write_noise(root / part / f"{video_id}.wav", 0.9 + 0.4 * number, len(known))
            known[video_id] = [0.5 + 0.4 * (tag in tags) for tag in range(len(names))]
        (root / f"{part}_segments.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    probs = np.array(list(known.values()), dtype=np.float32)
    write_clip_scores(ClipScores(tuple(known), probs, LabelSet(names)), root / "teacher.npz")
    return [f"labels=[{', '.join(names)}]"]


def write_esc50(root: Path) -> list[str]:
    """Two recordings of the folds that are scored, 1 and 2, and one of each of the others."""
    rows = ["filename\tevent_label\tfold"]
    listed = (("dog", 1), ("rain", 1), ("dog", 2), ("rain", 2), ("rain", 3), ("frog", 4), ("rain", 5))
    for number, (name, fold) in enumerate(listed):
        rows.append(f"{number}.wav\t{name}\t{fold}")
        write_noise(root / "audio" / f"{number}.wav", 1.0, number)
    (root / "metadata.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return ["labels=[dog, rain, frog]", *(f"data.{key}.root={root}" for key in ("train.0.corpus", "validation"))]


def write_gise51(root: Path) -> list[str]:
    """LMDBs of four mixtures to train on, two of val and two of eval, as the published script packs them."""
    names = ("Car", "Dog", "Glass")
    for part, of_part in (("train", TAGS), ("val", TAGS[:2]), ("eval", TAGS[1:3])):
        records = []
        for number, tags in enumerate(of_part):
            flac = io.BytesIO()
            noise = 0.1 * np.random.default_rng(number).standard_normal(round((4.5 + 0.5 * number) * 22_050))
            soundfile.write(flac, noise, 22_050, format="FLAC")
            records.append((flac.getvalue(), ",".join(names[tag] for tag in tags)))
        keys = [str(number).encode() for number in range(len(records))]
        with (
            lmdb.open(str(root / f"{part}.lmdb"), subdir=False, map_size=10**8) as file,
            file.begin(write=True) as into,
        ):
            for key, record in zip(keys, records, strict=True):
                into.put(key, msgpack.packb(record))
            into.put(b"__keys__", msgpack.packb(keys))
            into.put(b"__len__", msgpack.packb(len(keys)))
    parts = {"train.0.corpus": "train", "validation": "val", "evaluation.eval": "eval"}
    return [f"labels=[{', '.join(names)}]", *(f"data.{key}.path={root / part}.lmdb" for key, part in parts.items())]


def write_vggsound(root: Path) -> list[str]:
    """Four clips of the training part and two of the test part."""
    names = ("air horn", "dog barking", "bee, wasp, etc. buzzing")
    lines = []
    for number in range(6):
        lines.append(f'video{number},{30 * number},"{names[number % 3]}",{"train" if number < 4 else "test"}')
        write_noise(root / "audio" / f"video{number}_{30 * number:06d}.wav", 4.0 + 2.0 * (number % 3), number)
    (root / "vggsound.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    keys = [f"data.{key}.root={root / 'audio'}" for key in ("train.0.corpus", "validation")]
    keys += [f"data.{key}.table={root / 'vggsound.csv'}" for key in ("train.0.corpus", "validation")]
    return [*keys, f"labels={json.dumps(names)}"]


WRITERS = {
    "fsd50k": write_fsd50k,
    "audioset": write_audioset,
    "esc50": write_esc50,
    "lmdb": write_gise51,
    "vggsound": write_vggsound,
}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Path, list[str]]]:
    """Corpus -> its root, and the keys that say where it lies."""
    folders = {corpus: tmp_path_factory.mktemp(corpus) for corpus in WRITERS}
    return {corpus: (folders[corpus], write(folders[corpus])) for corpus, write in WRITERS.items()}


def places(options: TaggingOptions, root: Path) -> list[str]:
    """Keys of tables and teachers, which differ from conf to conf."""
    source = options.data.train[0]
    if source.corpus.name == "fsd50k" and source.corpus.table is not None:
        return [f"data.train.0.corpus.table={root / 'FSD50K.ground_truth' / source.corpus.table.name}"]
    if source.corpus.name == "esc50":
        return [f"data.evaluation.{name}.root={root}" for name in options.data.evaluation]
    if source.corpus.name != "audioset":
        return []
    parts = {"data.train.0.corpus": "balanced_train", "data.validation": "eval"}
    if source.more:
        parts["data.train.0.more.0"] = "unbalanced_train"
    found = [f"{key}.table={root / part}_segments.csv" for key, part in parts.items()]
    found += [f"{key}.root={root / part}" for key, part in parts.items()]
    return [*found, *([f"data.train.0.teacher.scores={root / 'teacher.npz'}"] if source.teacher else [])]


def made_short(options: TaggingOptions, root: Path) -> list[str]:
    """Keys that leave two steps of the training, and nothing that would have to be fetched."""
    source, model, training = options.data.train[0], options.model, options.training
    # Four recordings of FSD50K are six chunks.
    changed = ["training.num_threads=1", "training.n_epochs=1", f"data.train.0.batch_size={3 if source.chunks else 2}"]
    if source.sampling.name != "shuffled" and source.sampling.epoch_clips:
        changed.append("data.train.0.sampling.epoch_clips=4")
    if source.corpus.name == "fsd50k" and source.chunks:
        changed.append(f"augmentations.1.folder={root / 'noise'}")
    if training.weight_averaging is not None:
        changed.append("training.weight_averaging={first_epoch: 1}")
    changed += SMALLER.get(model.name, ["model.pretrained=null"] if getattr(model, "pretrained", None) else [])
    if model.name == "ast" or options.data.clip_seconds > 10:
        changed += ["data.clip_seconds=1.0", f"features.target_frames={options.features.num_bands}"]
    return changed


def train(name: str, corpora: Mapping[str, tuple[Path, list[str]]], expdir: Path) -> list[str]:
    """Train by the recipe; the lines of results.csv."""
    conf = CONFS / "tagging" / f"{name}.yaml"
    options = read_options(conf, TaggingOptions)
    root, keys = corpora[options.data.train[0].corpus.name]
    overrides = [*keys, *places(options, root), *made_short(options, root), f"data.store={root / 'store'}"]
    flags = [word for override in overrides for word in ("--set", override)]
    assert main(["--conf_file", str(conf), "-e", str(expdir), "--device", "cpu", *flags]) == 0
    return (expdir / "version_0" / "results.csv").read_text(encoding="utf-8").splitlines()


def require_results(name: str, rows: list[str], expdir: Path) -> None:
    """Every system that the conf asks for was scored on every set."""
    options = read_options(CONFS / "tagging" / f"{name}.yaml", TaggingOptions)
    systems = ["best", *(["averaged"] if options.training.weight_averaging else [])]
    systems += ["ensemble"] if options.training.ensemble else []
    sets = ["validation", *options.data.evaluation]
    reports = expdir / "version_0" / "metrics_test"
    found = {(path.parent.parent.name, path.parent.name) for path in reports.glob("*/*/report.json")}
    assert found == {(system, of_set) for system in systems for of_set in sets}
    assert len(rows) > 1
    for path in reports.glob("*/*/report.json"):
        assert 0.0 <= json.loads(path.read_text(encoding="utf-8"))["map"] <= 1.0


@pytest.mark.parametrize("name", FAST)
def test_a_small_published_tagger_trains_two_steps_and_is_evaluated(
    name: str, corpora: Mapping[str, tuple[Path, list[str]]], tmp_path: Path
) -> None:
    require_results(name, train(name, corpora, tmp_path), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TAGGING if name not in FAST])
def test_a_published_tagger_trains_two_steps_and_is_evaluated(
    name: str, corpora: Mapping[str, tuple[Path, list[str]]], tmp_path: Path
) -> None:
    require_results(name, train(name, corpora, tmp_path), tmp_path)
