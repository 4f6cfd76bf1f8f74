"""Published checkpoints as embedders load them: by their own names, all of it, or refused in one sentence.

The checkpoints are made from published_names.py, which was typed from what was published. What a front-end hears is
tested in tests/features (test_panns_features.py, test_kaldi_features.py) against published figures.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published_names import as_hugging_face, ast, cnn14, filled, frontend, pann_file, saved
from torch import Tensor, nn

from desed_task.embedders.build import BuiltEmbedder
from desed_task.embedders.options import ASTEmbedderOptions, NetworkOptions, PANNsEmbedderOptions
from desed_task.errors import CheckpointError
from desed_task.features.panns import PANNsOptions
from desed_task.models.ast import ASTOptions
from desed_task.models.cnn14 import Cnn14Options
from desed_task.published.taggers import load_initial

Weights = dict[str, Tensor]
PANNS_32K = PANNsOptions(sample_rate=32000)
DECISION_LEVEL_MAX = PANNsEmbedderOptions(features=PANNS_32K, model=Cnn14Options(decision="max"))
LEARNED = ("running_mean", "running_var", "num_batches_tracked")


def built(options: NetworkOptions) -> BuiltEmbedder:
    return BuiltEmbedder(options, 16_000, 10.0)


def count(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def without_front(shapes: dict[str, Any]) -> dict[str, Any]:
    return {name: shape for name, shape in shapes.items() if "_extractor." not in name}


def without_heads_of_imagenet(names: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix("module."): each for name, each in names.items() if ".v.head" not in name}


# The tables themselves.


def test_the_tables_count_what_was_published() -> None:
    assert (len(cnn14(16_000)), len(ast())) == (84, 159)
    for rate in (16_000, 32_000):
        learned = {name: shape for name, shape in without_front(cnn14(rate)).items() if not name.endswith(LEARNED)}
        assert count(learned) == 80_753_615
    fronts = {rate: count(cnn14(rate)) - count(without_front(cnn14(rate))) for rate in (16_000, 32_000)}
    assert fronts == {16_000: 279_616, 32_000: 1_083_456}
    assert count(ast()) == 88_132_063
    assert count(without_heads_of_imagenet(ast())) == 86_594_063


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (PANNsEmbedderOptions(), without_front(cnn14(16_000))),
        (PANNsEmbedderOptions(features=PANNS_32K), without_front(cnn14(32_000))),
        (DECISION_LEVEL_MAX, without_front(cnn14(32_000))),
        (ASTEmbedderOptions(), without_heads_of_imagenet(ast())),
    ],
    ids=["Cnn14_16k", "Cnn14", "Cnn14_DecisionLevelMax", "AST"],
)
def test_an_embedder_has_the_published_names_and_shapes(options: NetworkOptions, expected: dict[str, Any]) -> None:
    with torch.device("meta"):
        state = built(options).network().network.state_dict()
    assert {name: tuple(values.shape) for name, values in state.items()} == expected


# What goes in comes out.


def require_same(network: nn.Module, expected: Weights) -> None:
    state = network.state_dict()
    assert set(state) == set(expected)
    for name, values in expected.items():
        assert torch.equal(state[name], values), name


def test_cnn14_at_16_khz_loads_and_says_what_it_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = pann_file(16_000)
    path = saved(tmp_path / "Cnn14_16k_mAP=0.438.pth", checkpoint)
    with caplog.at_level(logging.INFO):
        network = built(PANNsEmbedderOptions(weights=path)).trained_network().network
    require_same(network, without_front(checkpoint["model"]))
    (line,) = [line for line in caplog.messages if line.startswith("embedder panns: ")]
    assert "81 tensors of PANNs loaded; left out, since nothing uses them: spectrogram_extractor.stft.conv_real" in line
    assert line.endswith("its front-end is that of PANNs at 16000 Hz")


def test_ast_loads_and_says_what_it_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = filled(ast())
    path = saved(tmp_path / "audioset_10_10_0.4593.pth", weights)
    with caplog.at_level(logging.INFO):
        network = built(ASTEmbedderOptions(weights=path)).trained_network().network
    require_same(network, without_heads_of_imagenet(weights))
    (line,) = [line for line in caplog.messages if line.startswith("embedder ast: ")]
    assert (
        "155 tensors of AST loaded; left out, since nothing uses them: v.head.weight, v.head.bias, v.head_dist" in line
    )


@pytest.mark.slow
@pytest.mark.parametrize("options", [PANNsEmbedderOptions(features=PANNS_32K), DECISION_LEVEL_MAX])
def test_cnn14_at_32_khz_loads(tmp_path: Path, options: NetworkOptions) -> None:
    checkpoint = pann_file(32_000)
    path = saved(tmp_path / "Cnn14.pth", checkpoint)
    network = built(options.model_copy(update={"weights": path})).trained_network().network
    require_same(network, without_front(checkpoint["model"]))


@pytest.mark.slow
def test_ast_loads_by_the_names_of_hugging_face(tmp_path: Path) -> None:
    own = without_heads_of_imagenet(filled(ast()))
    path = saved(tmp_path / "pytorch_model.bin", as_hugging_face(own))
    require_same(built(ASTEmbedderOptions(weights=path)).trained_network().network, own)


# What is refused. Networks are on the meta device: nothing may be loaded into them.

SMALL_AST = ASTOptions(model_size="tiny224", depth=1)
AST_KEYS = ast(dim=192, depth=1)


@pytest.fixture(scope="module")
def pann() -> Weights:
    return filled(cnn14(16_000)) | frontend(16_000)


@pytest.fixture(scope="module")
def ast_weights() -> Weights:
    return filled(AST_KEYS)


def refuse(options: NetworkOptions, path: Path) -> str:
    with torch.device("meta"):
        network = built(options).network().network
    with pytest.raises(CheckpointError) as refused:
        load_initial(network, path, options.features)
    sentence = str(refused.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(
    "name", ["conv_block6.conv2.weight", "bn0.running_var", "conv_block1.bn2.bias", "fc1.bias", "fc_audioset.bias"]
)
def test_a_pann_with_a_key_missing_is_refused(name: str, pann: Weights, tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {"model": {key: values for key, values in pann.items() if key != name}})
    assert f"missing: {name}" in refuse(PANNsEmbedderOptions(), path)


@pytest.mark.parametrize(
    "name", ["blocks.0.attn.qkv.bias", "norm.weight", "patch_embed.proj.bias", "blocks.0.mlp.fc2.weight"]
)
def test_an_ast_with_a_key_missing_is_refused(name: str, ast_weights: Weights, tmp_path: Path) -> None:
    weights = {key: values for key, values in ast_weights.items() if key != f"module.v.{name}"}
    sentence = refuse(ASTEmbedderOptions(model=SMALL_AST), saved(tmp_path / "w.pth", weights))
    assert f"missing: v.{name}" in sentence


CHANGES: dict[str, tuple[Callable[[Weights], Weights], str]] = {
    "another shape": (
        lambda w: w | {"conv_block2.conv1.weight": torch.zeros(128, 64, 5, 5)},
        "of another shape: conv_block2.conv1.weight (128, 64, 5, 5) for (128, 64, 3, 3)",
    ),
    "one too many": (lambda w: w | {"conv_block7.bn1.bias": torch.zeros(3)}, "of no use here: conv_block7.bn1.bias"),
    "another head": (
        lambda w: w | {"fc_audioset.weight": torch.zeros(527, 9)},
        "fc_audioset.weight (527, 9) for (527, 2048)",
    ),
    "not finite": (
        lambda w: w | {"fc1.bias": torch.full((1,), math.nan).expand(2048)},
        "fc1.bias holds values that are not finite",
    ),
    "another front-end": (
        lambda w: w | {"logmel_extractor.melW": 1.01 * w["logmel_extractor.melW"]},
        "logmel_extractor.melW differs from the front-end of PANNs",
    ),
    "another family": (
        lambda _: filled(AST_KEYS),
        "holds weights of AST, the conf's model is PANNs; choose the model they are of",
    ),
    "no weights": (lambda _: {}, "holds no weights"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_a_pann_that_does_not_fit_is_refused(
    change: Callable[[Weights], Weights], message: str, pann: Weights, tmp_path: Path
) -> None:
    assert message in refuse(PANNsEmbedderOptions(), saved(tmp_path / "w.pth", {"model": change(dict(pann))}))


def test_a_pann_of_16_khz_is_refused_by_one_of_32(pann: Weights, tmp_path: Path) -> None:
    sentence = refuse(PANNsEmbedderOptions(features=PANNS_32K), saved(tmp_path / "w.pth", {"model": pann}))
    assert "PANNs at 16000 Hz, and the conf's is panns at 32000 Hz; set features to" in sentence


def test_an_ast_of_other_strides_is_refused(ast_weights: Weights, tmp_path: Path) -> None:
    model = ASTOptions(model_size="tiny224", depth=1, fstride=16, tstride=16)
    weights = ast_weights | {"module.v.pos_embed": torch.zeros(1, 2 + 11 * 101, 192)}
    sentence = refuse(ASTEmbedderOptions(model=model), saved(tmp_path / "w.pth", weights))
    assert "are neither of 12 x 101 patches nor of 8 rows, as model.fstride has them" in sentence


FILES = {
    "cut": (lambda whole: whole[: len(whole) // 2], "it is cut short"),
    "page": (lambda _: b"\n<!DOCTYPE html><html><title>Sign in</title></html>", "it is a web page"),
    "pointer": (lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of git-lfs"),
    "empty": (lambda _: b"", "it is empty"),
    "noise": (lambda _: bytes(range(256)), "not a readable checkpoint"),
}


@pytest.mark.parametrize(("change", "reason"), FILES.values(), ids=FILES)
def test_a_file_that_is_none_of_weights_is_refused(
    change: Callable[[bytes], bytes], reason: str, ast_weights: Weights, tmp_path: Path
) -> None:
    path = saved(tmp_path / "w.pth", ast_weights)
    path.write_bytes(change(path.read_bytes()))
    assert reason in refuse(ASTEmbedderOptions(model=SMALL_AST), path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refuse(ASTEmbedderOptions(model=SMALL_AST), tmp_path / "absent.pth")
    assert "a folder that is none of Hugging Face's" in refuse(ASTEmbedderOptions(model=SMALL_AST), tmp_path)


# The head: needed by the one embedding that is made of it.

HEADLESS = {name: shape for name, shape in AST_KEYS.items() if "mlp_head" not in name}
OTHER_CLASSES = ast(dim=192, depth=1, classes=50)


def small_ast(path: Path, output: Any, **options: Any) -> BuiltEmbedder:
    return built(ASTEmbedderOptions(model=SMALL_AST, output=output, weights=path, **options))


@pytest.mark.parametrize("shapes", [HEADLESS, OTHER_CLASSES], ids=["no head", "of 50 classes"])
@pytest.mark.parametrize("output", ["frame", "tokens", "clip"])
def test_embeddings_that_do_without_the_head_load_without_it(
    output: str, shapes: dict[str, tuple[int, ...]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        network = small_ast(saved(tmp_path / "w.pth", filled(shapes)), output).trained_network()
    assert float(network.network.state_dict()["v.norm.weight"][5]) > 0
    assert "the head stays as initialised (mlp_head.0.weight, mlp_head.0.bias, mlp_head.1.weight" in caplog.text


@pytest.mark.parametrize("shapes", [HEADLESS, OTHER_CLASSES], ids=["no head", "of 50 classes"])
def test_the_logits_of_a_head_that_is_not_there_are_refused(shapes: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", filled(shapes))
    with pytest.raises(CheckpointError, match=r"w\.pth: output global is made of the head, and the file has no mlp_he"):
        small_ast(path, "global").trained_network()


def test_logits_of_other_classes_are_had_by_naming_their_number(tmp_path: Path) -> None:
    weights = filled(OTHER_CLASSES)
    network = small_ast(saved(tmp_path / "w.pth", weights), "global", num_classes=50).trained_network()
    require_same(network.network, without_heads_of_imagenet(weights))
