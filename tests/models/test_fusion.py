"""Fusion: shapes, sizes and names of every way and join, what is refused, and dropsteps as torchaudio draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torchaudio
from pydantic import ValidationError
from torch import Tensor

from desed_task.batch import Embedding, Inputs
from desed_task.models.crnn import CRNN, CRNNOptions
from desed_task.models.embedding import EmbeddingShape
from desed_task.models.fusion import Fusion, FusionOptions
from desed_task.models.fusion_ways import WAYS, without_runs
from desed_task.models.tagger import InputShape

FRAMES, WIDTH, TIME_POOLING, DIM = 12, 8, 4, 5
TIMED = EmbeddingShape(7, DIM, 6.0, 2.5)
OF_CLIP = EmbeddingShape(1, DIM)
every_way = pytest.mark.parametrize("way", WAYS)
every_join = pytest.mark.parametrize("join", ["concatenated", "gated"])


def shape_for(way: str) -> EmbeddingShape:
    return OF_CLIP if way == "global" else TIMED


def build(ways: Mapping[str, str], shapes: Mapping[str, EmbeddingShape] | None = None, **options: Any) -> Fusion:
    torch.manual_seed(0)
    shapes = {name: shape_for(way) for name, way in ways.items()} if shapes is None else shapes
    return Fusion(FusionOptions(ways=ways, **options), shapes, WIDTH, FRAMES, TIME_POOLING)


def embedding(way: str, clips: int = 3) -> Embedding:
    shape = shape_for(way)
    values = torch.randn(clips, shape.frames, shape.dim, generator=torch.Generator().manual_seed(1))
    return Embedding(values, shape.is_timed)


def features(clips: int = 3) -> Tensor:
    return torch.randn(clips, FRAMES, WIDTH, generator=torch.Generator().manual_seed(2))


@every_way
@every_join
def test_whatever_the_way_the_features_keep_their_shape(way: str, join: str) -> None:
    joined = build({"e": way}, join=join)(features(), {"e": embedding(way)})
    assert joined.shape == (3, FRAMES, WIDTH)


@every_way
def test_what_a_way_gives_is_on_the_frames(way: str) -> None:
    fusion = build({"e": way})
    values = fusion.ways["e"](embedding(way).values)
    assert values.shape == (3, FRAMES, fusion.ways["e"].width)
    is_the_same_in_every_frame = bool((values == values[:, :1]).all())
    assert is_the_same_in_every_frame == (way in ("global", "frame"))


@every_way
def test_every_way_hears_the_embedding_and_clips_stay_apart(way: str) -> None:
    fusion, x, heard = build({"e": way}), features(), embedding(way)
    changed = heard.values.clone()
    changed[1] += 1.0
    before, after = fusion(x, {"e": heard}), fusion(x, {"e": Embedding(changed, heard.is_timed)})
    assert [(before[clip] - after[clip]).abs().max().item() > 1e-4 for clip in range(3)] == [False, True, False]


def test_interpolated_embeddings_are_those_at_the_same_share_of_the_clip() -> None:
    values = torch.arange(7.0)[None, :, None].expand(1, 7, DIM)
    # middles of 12 frames at .29, .88, 1.46 ... of seven embedding frames
    heard = build({"e": "interpolate"}).ways["e"](values)[0, :, 0]
    assert heard.tolist() == [0, 0, 1, 2, 2, 3, 3, 4, 4, 5, 6, 6]


def test_several_embedders_join_at_once() -> None:
    ways = {"ast": "aligned", "panns": "pool1d", "tags": "global"}
    heard = {name: embedding(way) for name, way in ways.items()}
    for join in ("concatenated", "gated"):
        fusion = build(ways, join=join)
        joined = fusion(features(), heard)
        assert joined.shape == (3, FRAMES, WIDTH)
        for name in ways:
            silent = {**heard, name: Embedding(torch.zeros_like(heard[name].values), heard[name].is_timed)}
            assert not torch.allclose(fusion(features(), silent), joined)


def test_a_gated_join_begins_near_the_features() -> None:
    x, others = features(), {"e": embedding("aligned")}
    ratio = {}
    for join in ("concatenated", "gated"):
        joined = build({"e": "aligned"}, join=join)(x, others)
        ratio[join] = ((joined - x).norm() / x.norm()).item()
    assert ratio["gated"] < 0.15
    assert ratio["concatenated"] > 0.5


@every_way
@every_join
def test_gradients_reach_every_parameter(way: str, join: str) -> None:
    fusion = build({"e": way}, join=join)
    heard = embedding(way)
    learned = Embedding(heard.values.requires_grad_(), heard.is_timed)
    x = features().requires_grad_()
    fusion(x, {"e": learned}).square().mean().backward()
    idle = [name for name, value in fusion.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    # As published, the backward GRU of `frame` has heard one embedding frame when it is asked: it remembers nothing.
    assert idle == (["ways.e.encoder.weight_hh_l0_reverse"] if way == "frame" else [])
    for value in (x, learned.values):
        assert value.grad is not None
        assert value.grad.abs().sum() > 0


# What a way adds to `fusion.`, (name, shape), for embeddings e; 1024 is both directions of the GRU of `frame`.
SHRINK = {"ways.e.shrink.0.weight": (8, 5), "ways.e.shrink.0.bias": (8,)} | {
    f"ways.e.shrink.1.{name}": (8,) for name in ("weight", "bias")
}
ENCODER = {
    f"ways.e.encoder.{name}_l0{direction}": shape
    for direction in ("", "_reverse")
    for name, shape in {
        "weight_ih": (1536, 5),
        "weight_hh": (1536, 512),
        "bias_ih": (1536,),
        "bias_hh": (1536,),
    }.items()
}
NAMES: dict[str, dict[str, tuple[int, ...]]] = {
    "global": {**SHRINK, "join.linear.weight": (8, 16), "join.linear.bias": (8,)},
    "frame": {
        **ENCODER,
        **SHRINK,
        "ways.e.shrink.0.weight": (8, 1024),
        "join.linear.weight": (8, 16),
        "join.linear.bias": (8,),
    },
    "interpolate": {"join.linear.weight": (8, 13), "join.linear.bias": (8,)},
    "pool1d": {"join.linear.weight": (8, 13), "join.linear.bias": (8,)},
    "aligned": {**SHRINK, "join.linear.weight": (8, 16), "join.linear.bias": (8,)},
}


@every_way
def test_names_and_shapes_of_what_is_learned_do_not_change(way: str) -> None:
    state = build({"e": way}).state_dict()
    assert {name: tuple(values.shape) for name, values in state.items()} == NAMES[way]


def test_names_and_shapes_of_a_gated_join_do_not_change() -> None:
    state = build({"e": "pool1d", "f": "aligned"}, join="gated").state_dict()
    assert {name: tuple(values.shape) for name, values in state.items() if name.startswith("join")} == {
        "join.values.0.weight": (8, 5),
        "join.values.0.bias": (8,),
        "join.values.1.weight": (8, 8),
        "join.values.1.bias": (8,),
        "join.gates.0.weight": (8, 13),
        "join.gates.0.bias": (8,),
        "join.gates.1.weight": (8, 16),
        "join.gates.1.bias": (8,),
    }


@pytest.mark.parametrize(
    ("ways", "shapes", "parameters"),
    [
        ({"ast": "frame"}, {"ast": EmbeddingShape(1214, 768)}, 5_215_076),
        ({"ast": "pool1d"}, {"ast": EmbeddingShape(496, 768, 2.0)}, 1_227_236),
        ({"ast": "interpolate"}, {"ast": EmbeddingShape(496, 768, 2.0)}, 1_227_236),
        # 768 x 128 + 128, a layer norm of 256, and 256 x 128 + 128 to join
        ({"ast": "aligned"}, {"ast": EmbeddingShape(101, 768, 6.25)}, 1_112_420 + 98_688 + 32_896),
        ({"ast": "global"}, {"ast": EmbeddingShape(1, 527)}, 1_112_420 + 527 * 128 + 128 + 256 + 32_896),
    ],
)
def test_a_fused_crnn_is_as_large_as_the_published_one(
    ways: Mapping[str, str], shapes: Mapping[str, EmbeddingShape], parameters: int
) -> None:
    with torch.device("meta"):
        options = CRNNOptions(fusion=FusionOptions(ways=ways))
        model = CRNN(options, InputShape(626, 128, shapes), 10)
    assert sum(values.numel() for values in model.parameters()) == parameters


def test_a_fused_crnn_hears_its_embeddings() -> None:
    options = CRNNOptions(
        nb_filters=(3, 4), pooling=((2, 2), (1, 2)), n_rnn_cell=5, fusion=FusionOptions(ways={"e": "aligned"})
    )
    torch.manual_seed(0)
    model = CRNN(options, InputShape(26, 8, {"e": EmbeddingShape(6, 2, 4.0)}), 3).eval()
    mel = torch.rand(2, 26, 8)
    said = [
        model(Inputs(mel, {"e": Embedding(torch.full((2, 6, 2), value) * torch.tensor([1.0, 0.5]), True)}))
        for value in (1.0, -1.0)
    ]
    assert said[0].strong_logits is not None
    assert said[0].strong_logits.shape == (2, 13, 3)
    assert not torch.allclose(said[0].weak_logits, said[1].weak_logits)


@pytest.mark.parametrize(
    ("ways", "shapes", "message"),
    [
        ({"e": "global"}, {"e": TIMED}, "fusion of e: way global is for one embedding of the clip and there are 7"),
        ({"e": "aligned"}, {"e": OF_CLIP}, "fusion of e: way aligned needs an embedding that follows the clip's time"),
        ({"e": "aligned"}, {"e": EmbeddingShape(9, 2)}, "take output frame of the embedder"),
        ({"e": "frame"}, {"f": TIMED}, "model.fusion.ways names e and the embedders are f; name each in both"),
        ({"e": "frame"}, {}, "names e and the embedders are none"),
        ({"e": "frame", "f": "frame"}, {"f": TIMED}, "names e, f and the embedders are f"),
    ],
)
def test_embeddings_that_cannot_go_their_way_are_refused(
    ways: Mapping[str, str], shapes: Mapping[str, EmbeddingShape], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(ways, shapes)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ways": {}}, "at least 1 item"),
        ({"ways": {"ast": "middle"}}, "'global', 'frame', 'interpolate', 'pool1d' or 'aligned'"),
        ({"ways": {"ast": "frame"}, "join": "added"}, "'concatenated' or 'gated'"),
        ({"ways": {"ast": "frame"}, "dropstep": 1.5}, "less than or equal to 1"),
        ({"ways": {"ast": "frame"}, "way": "frame"}, "Extra inputs are not permitted"),
        # names that a torch module could not hold under its own attributes
        ({"ways": {"ast.frames": "frame"}}, "an embedder cannot be called 'ast.frames'"),
        ({"ways": {"train": "frame"}}, "an embedder cannot be called 'train'"),
    ],
)
def test_options_of_another_kind_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FusionOptions(**values)


# Dropsteps: runs of frames that are hidden from the GRU while it trains (2024).


def hidden_frames(fusion: Fusion, clips: int) -> tuple[Tensor, Tensor]:
    """(clips, frames) bool, of the features and of the embedding, as the join gets them."""
    got: list[tuple[Tensor, Tensor]] = []
    fusion.join.register_forward_pre_hook(lambda _, given: got.append((given[0], *given[1])))
    ones = torch.ones(clips, TIMED.frames, DIM)
    fusion(torch.ones(clips, FRAMES, WIDTH), {"e": Embedding(ones, is_timed=True)})
    return (got[0][0] == 0).all(dim=2), (got[0][1] == 0).all(dim=2)


def test_a_dropstep_hides_one_run_apart_for_features_and_embedding() -> None:
    torch.manual_seed(0)
    of_features, of_embedding = hidden_frames(build({"e": "pool1d"}, dropstep=0.5).train(), 500)
    for hidden in (of_features, of_embedding):
        lengths = hidden.sum(dim=1)
        assert set(lengths.tolist()) == {0, 1, 2, 3, 4, 5}  # less than half of 12 frames
        borders = (hidden[:, 1:] != hidden[:, :-1]).sum(dim=1)
        assert borders.max() <= 2  # one run
    assert (of_features != of_embedding).any(dim=1).float().mean() > 0.5


def test_a_dropstep_is_no_longer_than_told() -> None:
    torch.manual_seed(0)
    of_features, _ = hidden_frames(build({"e": "pool1d"}, dropstep=1.0, dropstep_frames=3).train(), 500)
    assert of_features.sum(dim=1).max() == 2


def test_nothing_is_hidden_outside_of_training_or_where_it_is_not_asked_for() -> None:
    for fusion in (build({"e": "pool1d"}, dropstep=0.5).eval(), build({"e": "pool1d"}).train()):
        assert not any(hidden.any() for hidden in hidden_frames(fusion, 50))


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_with_the_same_seed_a_dropstep_is_the_very_one_of_torchaudio(share: float) -> None:
    values = torch.rand(64, 156, 3) + 0.1
    options = FusionOptions(ways={"e": "pool1d"}, dropstep=share, dropstep_frames=16)
    longest = Fusion(options, {"e": TIMED}, WIDTH, 156, TIME_POOLING).longest_run
    torch.manual_seed(3)
    hidden = without_runs(values, longest)
    torch.manual_seed(3)
    theirs = torchaudio.transforms.TimeMasking(16, True, share)(values.transpose(1, 2)).transpose(1, 2)
    assert torch.equal(hidden, theirs)
    assert ((theirs == 0) != (theirs[:1] == 0)).any()  # each clip has its own run
