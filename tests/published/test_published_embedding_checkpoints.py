"""Checkpoints with embeddings, in every published name and shape, become systems with every value in its place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from published_embeddings import (
    FRAME,
    GLOBAL_PANNS,
    POOLED,
    Shapes,
    crnn_shapes,
    panns_tree,
    pretrained_tree,
    weights,
)
from published_shapes import lightning_checkpoint

from desed_task.batch import Embedding
from desed_task.embeddings.embedder import Network
from desed_task.embeddings.learning import Learning, joined_weights
from desed_task.errors import CheckpointError, OptionsError
from desed_task.experiment import load_system
from desed_task.models.cnn14 import Cnn14, Cnn14Options
from desed_task.models.tagger import InputShape
from desed_task.published.fused_weights import embedder_weights
from desed_task.system import describe

pytestmark = pytest.mark.usefixtures("one_thread")

OF_2024 = {"nclass": 27, "median_filter": [7] * 27}
# tree, names and shapes, and the form of a clip's embedding: frames, values, timed
SYSTEMS: dict[str, tuple[dict[str, Any], Shapes, tuple[int, int, bool]]] = {
    "2022 ast frame": (pretrained_tree(2022), crnn_shapes() | FRAME, (1214, 768, False)),
    "2022 panns global": (panns_tree(), crnn_shapes() | GLOBAL_PANNS, (1, 2048, False)),
    "2023 beats pool1d": (pretrained_tree(2023), crnn_shapes() | POOLED, (496, 768, False)),
    "2024 beats pool1d": (pretrained_tree(2024, OF_2024), crnn_shapes(27, 192) | POOLED, (496, 768, False)),
}
PARAMETERS = {"2022 ast frame": 5_215_076, "2023 beats pool1d": 1_227_236}
NAMES = (
    (r"shrink_emb\.(\d)\.(\w+)", r"fusion.ways.{}.shrink.\1.\2"),
    (r"frame_embs_encoder\.(\w+)", r"fusion.ways.{}.encoder.\1"),
    (r"cat_tf\.(\w+)", r"fusion.join.linear.\1"),
)


def save(tree: dict[str, Any], shapes: Shapes, path: Path, plain: bool = True, **extra: torch.Tensor) -> Path:
    """A checkpoint whose teacher is not its student; `extra` stands in its state_dict, for dots in names: __."""
    student, teacher = weights(shapes, seed=1), weights(shapes, seed=2)
    checkpoint = lightning_checkpoint(tree, student, "1.9.0", plain)
    whole = checkpoint["state_dict"] | {f"sed_teacher.{name}": values for name, values in teacher.items()}
    checkpoint["state_dict"] = whole | {name.replace("__", "."): values for name, values in extra.items()}
    torch.save(checkpoint | ({"sed_teacher": teacher} if plain else {}), path)
    return path


def ours(name: str, embedder: str) -> str:
    for theirs, here in NAMES:
        if re.fullmatch(theirs, name):
            return re.sub(theirs, here.format(embedder), name)
    return name


def embedding(form: tuple[int, int, bool], seed: int) -> Embedding:
    frames, dim, is_timed = form
    return Embedding(torch.randn(2, frames, dim, generator=torch.Generator().manual_seed(seed)), is_timed)


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "prefixed"])
@pytest.mark.parametrize("system_name", SYSTEMS)
def test_every_value_stands_in_its_place_and_embeddings_are_heard(
    system_name: str, plain: bool, tmp_path: Path
) -> None:
    tree, shapes, form = SYSTEMS[system_name]
    embedder = tree["pretrained"]["model"]
    system = load_system(save(tree, shapes, tmp_path / "a.ckpt", plain))
    for seed, model in enumerate(("student", "teacher"), start=1):
        found = system.models[model].state_dict()
        expected = {ours(name, embedder): values for name, values in weights(shapes, seed).items()}
        assert {name: tuple(values.shape) for name, values in found.items()} == {
            name: tuple(values.shape) for name, values in expected.items()
        }
        assert all(torch.equal(found[name], values) for name, values in expected.items())
    student = system.models["student"]
    num_parameters = sum(parameter.numel() for parameter in student.parameters())
    assert num_parameters == PARAMETERS.get(system_name, num_parameters)

    waveform = 0.1 * torch.randn(2, system.windowing.window_samples, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        first, other = (
            student(system.ears(waveform, {embedder: embedding(form, seed)})).strong_probs for seed in (0, 1)
        )
    assert first.shape == (2, 156, len(system.labels))
    assert (first - other).abs().max() > 1e-4


def test_clips_that_are_not_stored_need_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    waveform = torch.zeros(1, 160_000)
    tree, shapes, _ = SYSTEMS["2023 beats pool1d"]
    with pytest.raises(OptionsError, match=r"embeddings/beats was extracted with is not here"):
        load_system(save(tree, shapes, tmp_path / "beats.ckpt")).ears(waveform)
    broken = tmp_path / "pretrained_models" / "Cnn14_16k_mAP%3D0.438.pth"
    broken.parent.mkdir()
    broken.write_bytes(b"cut short")
    tree, shapes, _ = SYSTEMS["2022 panns global"]
    with pytest.raises(CheckpointError, match=r"pretrained_models/Cnn14_16k_mAP%3D0\.438\.pth"):
        load_system(save(tree, shapes, tmp_path / "panns.ckpt")).ears(waveform)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cat_tf.bias": None}, r"a\.ckpt, student: .* Missing keys: fusion\.join\.linear\.bias"),
        ({"shrink_emb.1.weight": None}, r"Missing keys: fusion\.ways\.ast\.shrink\.1\.weight"),
        (
            {"cat_tf.weight": (128, 896)},
            r"size mismatch for fusion\.join\.linear\.weight, \(128, 896\) for \(128, 256\)",
        ),
        ({"att_emb.weight": (2,)}, r"unexpected keys: att_emb\.weight"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    tree, shapes, _ = SYSTEMS["2022 ast frame"]
    changed = {name: shape for name, shape in (shapes | change).items() if shape is not None}
    with pytest.raises(CheckpointError, match=message):
        load_system(save(tree, changed, tmp_path / "a.ckpt"))


def test_what_was_read_is_a_checkpoint_of_ours_when_it_is_saved_again(tmp_path: Path) -> None:
    tree, shapes, form = SYSTEMS["2023 beats pool1d"]
    system = load_system(save(tree, shapes, tmp_path / "a.ckpt"))
    states = {f"sed_{name}": model.state_dict() for name, model in system.models.items()}
    torch.save({"desed_task": {"task": "detection", **describe(system.options)}, **states}, tmp_path / "b.ckpt")
    again = load_system(tmp_path / "b.ckpt")
    assert again.options == system.options
    waveform, stored = torch.zeros(2, 160_000), {"beats": embedding(form, 0)}
    with torch.inference_mode():
        said = [one.models["teacher"](one.ears(waveform, stored)).strong_probs for one in (system, again)]
    assert torch.equal(*said)


def panns(width: float) -> Network:
    torch.manual_seed(3)
    return Network(Cnn14(Cnn14Options(width=width), InputShape(1001, 64), 527), "global")


def as_published(network: Network) -> dict[str, torch.Tensor]:
    """What a training end to end saves of PANNs: no head, and the front-end."""
    states = {name: values for name, values in network.network.state_dict().items() if "fc_audioset" not in name}
    return {f"pretrained_model.{name}": values for name, values in states.items()} | {
        "pretrained_model.spectrogram_extractor.stft.conv_real.weight": torch.zeros(257, 1, 512)
    }


def test_an_embedder_that_learned_is_a_part_of_the_model_here() -> None:
    network, detector = panns(1 / 64), {"dense.weight": torch.ones(2, 2), "dense.bias": torch.ones(2)}
    learned = embedder_weights({"state_dict": as_published(network)}, network.network, Path("a.ckpt"))
    model = Learning(torch.nn.ModuleDict({"dense": torch.nn.Linear(2, 2)}), {"panns": prune_head(panns(1 / 64))})
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 9.0)
    model.load_state_dict(joined_weights(detector, {"panns": learned}))
    found = model.embedders["panns"].state_dict()
    expected = network.state_dict()
    assert all(torch.equal(values, expected[name]) for name, values in found.items())
    assert torch.equal(model.detector["dense"].weight, torch.ones(2, 2))  # type: ignore[index, operator]


def prune_head(network: Network) -> Network:
    del network.network.fc_audioset
    return network


def test_without_the_embedder_that_learned_a_checkpoint_is_refused(tmp_path: Path) -> None:
    tree = panns_tree(e2e=True, freezed=False)
    with pytest.raises(CheckpointError, match=r"learned in this training and the checkpoint holds no pretrained_model"):
        load_system(save(tree, SYSTEMS["2022 panns global"][1], tmp_path / "a.ckpt"))


@pytest.mark.slow  # 81 million parameters
def test_a_checkpoint_of_a_training_end_to_end_is_heard_whole(tmp_path: Path) -> None:
    tree, network = panns_tree(e2e=True, freezed=False), panns(1.0)
    shapes = SYSTEMS["2022 panns global"][1]
    checkpoint = lightning_checkpoint(tree, weights(shapes, 1), "1.5.1", plain=True)
    checkpoint["state_dict"] |= as_published(network)
    torch.save(checkpoint, tmp_path / "a.ckpt")
    system = load_system(tmp_path / "a.ckpt")
    waveform = 0.1 * torch.randn(1, 160_000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        inputs = system.ears(waveform)
        expected = network.eval()(inputs.embedder_inputs["panns"]).values
        found = system.models["teacher"].embedders["panns"](inputs.embedder_inputs["panns"]).values  # type: ignore[index, operator]
        strong = system.models["teacher"](inputs).strong_probs
    torch.testing.assert_close(found, expected)
    assert strong.shape == (1, 156, 10)
