"""PANNs, EfficientAT's MobileNet, AST and TAL at their published size: parameters, names, shapes.

Tables are typed from the descriptions of the published checkpoints, networks are on the meta device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from desed_task.batch import Inputs
from desed_task.models.ast import AST, ASTOptions
from desed_task.models.cnn14 import Cnn14, Cnn14Options
from desed_task.models.mobilenet import MobileNet, MobileNetOptions
from desed_task.models.tagger import InputShape
from desed_task.models.talnet import TALNet, TALNetOptions, TALTrans, TALTransOptions
from desed_task.models.transformer import Linear, LinearOptions

Table = dict[str, tuple[int, ...]]
Make = Callable[..., nn.Module]

PANNS, EFFICIENTAT, KALDI = InputShape(1001, 64), InputShape(1000, 128), InputShape(1024, 128)
TAL_SMALL = InputShape(400, 64)
COUNTS: list[tuple[Make, Any, InputShape, int, int]] = [
    (MobileNet, MobileNetOptions(width=0.4), EFFICIENTAT, 527, 983_599),
    (MobileNet, MobileNetOptions(), EFFICIENTAT, 527, 4_876_831),
    (MobileNet, MobileNetOptions(width=4.0), EFFICIENTAT, 527, 68_427_303),
    (Cnn14, Cnn14Options(), PANNS, 527, 80_753_615),
    (Cnn14, Cnn14Options(decision="max"), PANNS, 527, 80_753_615),
    (Cnn14, Cnn14Options(decision="avg"), PANNS, 527, 80_753_615),
    (Cnn14, Cnn14Options(decision="att"), PANNS, 527, 81_834_492),
    (Cnn14, Cnn14Options(architecture="cnn10"), PANNS, 527, 5_219_279),
    (Cnn14, Cnn14Options(architecture="cnn6"), PANNS, 527, 4_837_455),
    (AST, ASTOptions(), KALDI, 527, 86_594_063),
    (TALNet, TALNetOptions(pooling="att"), TAL_SMALL, 527, 10_520_702),
    (TALNet, TALNetOptions(pooling="att", embedding_size=2048), KALDI, 527, 25_761_918),
    (TALTrans, TALTransOptions(pooling="att"), TAL_SMALL, 527, 12_097_662),
    # 128 -> 128 thrice with two norms' numbers each, and first, twice 128 -> 527: by hand, nothing was published
    (Linear, LinearOptions(), KALDI, 527, 4 * (128 * 128 + 128) + 3 * 256 + 2 * (128 * 527 + 527)),
]


def on_meta(make: Make, options: Any, shape: InputShape, num_classes: int = 527) -> Any:
    with torch.device("meta"):
        return make(options, shape, num_classes).eval()


def shapes(model: nn.Module) -> Table:
    return {name: tuple(values.shape) for name, values in model.state_dict().items()}


@pytest.mark.parametrize(("make", "options", "shape", "num_classes", "count"), COUNTS)
def test_a_network_has_as_many_parameters_as_published(
    make: Make, options: Any, shape: InputShape, num_classes: int, count: int
) -> None:
    assert sum(value.numel() for value in on_meta(make, options, shape, num_classes).parameters()) == count


@pytest.mark.parametrize(
    ("make", "options", "shape", "frames"),
    [
        (MobileNet, MobileNetOptions(width=0.1), EFFICIENTAT, 32),
        (Cnn14, Cnn14Options(width=0.02), PANNS, 31),
        (Cnn14, Cnn14Options(width=0.02, decision="att"), PANNS, 31),
        (Cnn14, Cnn14Options(width=0.02, architecture="cnn10"), PANNS, 62),
        (AST, ASTOptions(model_size="tiny224", depth=1, pooling="frames"), KALDI, 101),
        (TALNet, TALNetOptions(embedding_size=32), TAL_SMALL, 100),
        (TALTrans, TALTransOptions(embedding_size=32, addpos=True), TAL_SMALL, 100),
        (TALNet, TALNetOptions(embedding_size=64), KALDI, 256),
    ],
)
@torch.no_grad()
def test_ten_seconds_have_as_many_frames_as_published(make: Make, options: Any, shape: InputShape, frames: int) -> None:
    predictions = make(options, shape, 5).eval()(Inputs(torch.zeros(2, shape.mel_frames, shape.mel_bands)))
    assert predictions.strong_logits.shape == (2, frames, 5)
    assert predictions.weak_logits.shape == (2, 5)


@pytest.mark.parametrize(("stride", "patches"), [(10, 1212), (12, 850), (14, 657), (16, 512)])
def test_patches_of_ast(stride: int, patches: int) -> None:
    rows, columns = ASTOptions(fstride=stride, tstride=stride).grid(KALDI)
    assert rows * columns == patches


def norm(name: str, channels: int) -> Table:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{part}": (channels,) for part in parts}, f"{name}.num_batches_tracked": ()}


def map_(name: str, out: int, into: int) -> Table:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def layer_norm(name: str, dim: int) -> Table:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def cnn14_table() -> Table:
    table = norm("bn0", 64) | map_("fc1", 2048, 2048)
    for block, (before, after) in enumerate(pairwise((1, 64, 128, 256, 512, 1024, 2048)), start=1):
        table[f"conv_block{block}.conv1.weight"] = (after, before, 3, 3)
        table[f"conv_block{block}.conv2.weight"] = (after, after, 3, 3)
        table |= norm(f"conv_block{block}.bn1", after) | norm(f"conv_block{block}.bn2", after)
    return table


def test_cnn14_has_the_84_published_tensors_but_for_the_three_of_its_frontend() -> None:
    table = cnn14_table() | map_("fc_audioset", 527, 2048)
    assert len(table) + 3 == 84
    assert shapes(on_meta(Cnn14, Cnn14Options(), PANNS)) == table


def test_names_of_the_attention_block() -> None:
    block: Table = norm("att_block.bn_att", 527)
    for kind in ("att", "cla"):
        block |= {f"att_block.{kind}.weight": (527, 2048, 1), f"att_block.{kind}.bias": (527,)}
    assert shapes(on_meta(Cnn14, Cnn14Options(decision="att"), PANNS)) == cnn14_table() | block


def ast_table(dim: int = 768, patches: int = 1212, classes: int = 527) -> Table:
    table: Table = {"v.cls_token": (1, 1, dim), "v.dist_token": (1, 1, dim), "v.pos_embed": (1, patches + 2, dim)}
    table |= {"v.patch_embed.proj.weight": (dim, 1, 16, 16), "v.patch_embed.proj.bias": (dim,)}
    for block in range(12):
        here = f"v.blocks.{block}"
        table |= layer_norm(f"{here}.norm1", dim) | layer_norm(f"{here}.norm2", dim)
        table |= map_(f"{here}.attn.qkv", 3 * dim, dim) | map_(f"{here}.attn.proj", dim, dim)
        table |= map_(f"{here}.mlp.fc1", 4 * dim, dim) | map_(f"{here}.mlp.fc2", dim, 4 * dim)
    return table | layer_norm("v.norm", dim) | layer_norm("mlp_head.0", dim) | map_("mlp_head.1", classes, dim)


def test_ast_has_the_159_published_tensors_but_for_the_two_heads_of_imagenet() -> None:
    assert len(ast_table()) + 4 == 159
    assert shapes(on_meta(AST, ASTOptions(), KALDI)) == ast_table()
    small = ASTOptions(model_size="small224", fstride=16, tstride=16)
    assert shapes(on_meta(AST, small, InputShape(512, 128), 50)) == ast_table(384, 8 * 32, 50)


# Of mn10: channels in, expanded, out, kernel, squeezed channels of squeeze and excitation (None: no such layer).
MN10 = (
    (16, 16, 16, 3, None),
    (16, 64, 24, 3, None),
    (24, 72, 24, 3, None),
    (24, 72, 40, 5, 24),
    (40, 120, 40, 5, 32),
    (40, 120, 40, 5, 32),
    (40, 240, 80, 3, None),
    (80, 200, 80, 3, None),
    (80, 184, 80, 3, None),
    (80, 184, 80, 3, None),
    (80, 480, 112, 3, 120),
    (112, 672, 112, 3, 168),
    (112, 672, 160, 5, 168),
    (160, 960, 160, 5, 240),
    (160, 960, 160, 5, 240),
)


def mn10_table() -> Table:
    def convolution(name: str, *shape: int) -> Table:
        return {f"{name}.0.weight": shape} | norm(f"{name}.1", shape[0])

    table = convolution("features.0", 16, 1, 3, 3) | convolution("features.16", 960, 160, 1, 1)
    for block, (before, wide, after, kernel, squeezed) in enumerate(MN10, start=1):
        parts: list[Callable[[str], Table]] = []
        if block > 1:
            parts.append(lambda name, wide=wide, before=before: convolution(name, wide, before, 1, 1))  # type: ignore[misc]
        parts.append(lambda name, wide=wide, kernel=kernel: convolution(name, wide, 1, kernel, kernel))  # type: ignore[misc]
        if squeezed is not None:
            parts.append(
                lambda name, wide=wide, squeezed=squeezed: (  # type: ignore[misc]
                    map_(f"{name}.conc_se_layers.0.fc1", squeezed, wide)
                    | map_(f"{name}.conc_se_layers.0.fc2", wide, squeezed)
                )
            )
        parts.append(lambda name, wide=wide, after=after: convolution(name, after, wide, 1, 1))  # type: ignore[misc]
        for number, part in enumerate(parts):
            table |= part(f"features.{block}.block.{number}")
    return table | map_("classifier.2", 1280, 960) | map_("classifier.5", 527, 1280)


def test_mn10_has_the_312_published_tensors() -> None:
    assert len(mn10_table()) == 312
    assert shapes(on_meta(MobileNet, MobileNetOptions(), EFFICIENTAT)) == mn10_table()


@pytest.mark.parametrize(("width", "embedding"), [(0.4, 384), (1.0, 960), (4.0, 3840)])
def test_embeddings_of_mobilenet(width: float, embedding: int) -> None:
    state = shapes(on_meta(MobileNet, MobileNetOptions(width=width), EFFICIENTAT))
    assert state["classifier.2.weight"][1] == embedding


def test_batch_norms_of_mobilenet_add_a_thousandth() -> None:
    norms = [m for m in on_meta(MobileNet, MobileNetOptions(), EFFICIENTAT).modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(module.eps, module.momentum) for module in norms} == {(1e-3, 0.01)}


def tal_convolutions(channels: tuple[int, ...]) -> Table:
    table: Table = {}
    for layer, (before, after) in enumerate(pairwise((1, *channels))):
        table |= {f"conv.{layer}.conv.weight": (after, before, 3, 3), f"conv.{layer}.conv.bias": (after,)}
        table |= norm(f"conv.{layer}.bn", after)
    return table


def gru(inputs: int, cells: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for suffix in ("l0", "l0_reverse"):
        yield from ((f"gru.weight_ih_{suffix}", (3 * cells, inputs)), (f"gru.weight_hh_{suffix}", (3 * cells, cells)))
        yield from ((f"gru.bias_ih_{suffix}", (3 * cells,)), (f"gru.bias_hh_{suffix}", (3 * cells,)))


@pytest.mark.parametrize(("shape", "embedding"), [(TAL_SMALL, 1024), (KALDI, 2048)])
def test_names_of_tal(shape: InputShape, embedding: int) -> None:
    trunk = tal_convolutions((32, 32, 64, 64, 128, 128, 256, 256, 512, 512))
    head = map_("fc_prob", 527, embedding) | map_("fc_att", 527, embedding)
    options: dict[str, Any] = {"pooling": "att", "embedding_size": embedding}
    model = on_meta(TALNet, TALNetOptions(**options), shape)
    assert shapes(model) == trunk | dict(gru(embedding, embedding // 2)) | head
    layer: Table = {}
    for name in ("slf_attn.w_qs", "slf_attn.w_ks", "slf_attn.w_vs", "slf_attn.fc", "pos_ffn.w_1", "pos_ffn.w_2"):
        layer |= map_(f"enc_layer.{name}", embedding, embedding)
    layer |= layer_norm("enc_layer.slf_attn.layer_norm", embedding) | layer_norm(
        "enc_layer.pos_ffn.layer_norm", embedding
    )
    assert shapes(on_meta(TALTrans, TALTransOptions(**options), shape)) == trunk | layer | head


def test_defaults_are_the_published_networks() -> None:
    assert (ASTOptions().model_size, ASTOptions().fstride, ASTOptions().tstride) == ("base384", 10, 10)
    assert Cnn14Options().channels == (64, 128, 256, 512, 1024, 2048)
    tal = TALTransOptions()
    assert (tal.n_conv_layers, tal.n_pool_layers, tal.n_trans_layers, tal.pooling) == (10, 5, 2, "lin")


def test_statistics_of_mobilenet_move_as_fast_as_asked() -> None:
    model = on_meta(MobileNet, MobileNetOptions(width=0.1, batch_norm_momentum=0.1), EFFICIENTAT)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    assert norms and {(norm.momentum, norm.eps) for norm in norms} == {(0.1, 1e-3)}
