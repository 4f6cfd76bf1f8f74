"""Files of published taggers: read as they were saved, loaded by name, and refused in a sentence where they do not fit.

The files are made here from small networks with random weights, in the names and the wrapping of the published ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from desed_task.errors import CheckpointError, FetchError
from desed_task.features.panns import PANNsOptions
from desed_task.models.ast import AST, ASTOptions
from desed_task.models.cnn14 import Cnn14, Cnn14Options
from desed_task.models.mobilenet import MobileNet, MobileNetOptions
from desed_task.models.tagger import InputShape
from desed_task.models.talnet import TALNet, TALNetOptions, TALTrans, TALTransOptions
from desed_task.models.transformer import Transformer, TransformerOptions
from desed_task.published.taggers import InitialWeights, initialise, load_initial

Weights = dict[str, Tensor]
CLASSES = 3


def ast(num_classes: int = CLASSES, mel_frames: int = 64, **options: Any) -> AST:
    sizes = {"model_size": "tiny224", "depth": 1, "fstride": 16, "tstride": 16, **options}
    return AST(ASTOptions(**sizes), InputShape(mel_frames, 48), num_classes)  # 3 rows, 4 columns


def cnn14(num_classes: int = CLASSES, **options: Any) -> Cnn14:
    sizes = {"architecture": "cnn6", "width": 0.03, **options}
    return Cnn14(Cnn14Options(**sizes), InputShape(100, 64), num_classes)


def mobilenet(num_classes: int = CLASSES) -> MobileNet:
    return MobileNet(MobileNetOptions(width=0.1), InputShape(100, 32), num_classes)


def tal(num_classes: int = CLASSES) -> TALNet:
    options = TALNetOptions(embedding_size=16, n_conv_layers=4, n_pool_layers=2, pooling="att")
    return TALNet(options, InputShape(100, 32), num_classes)


def taltrans(num_classes: int = CLASSES) -> TALTrans:
    options = TALTransOptions(embedding_size=16, n_conv_layers=4, n_pool_layers=2, addpos=True)
    return TALTrans(options, InputShape(100, 32), num_classes)


def random_weights(model: nn.Module) -> Weights:
    """Other numbers than any network begins with."""
    generator = torch.Generator().manual_seed(7)
    return {
        name: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value + 5
        for name, value in model.state_dict().items()
    }


def saved(folder: Path, checkpoint: Any, **how: Any) -> Path:
    torch.save(checkpoint, folder / "weights.pth", **how)
    return folder / "weights.pth"


def require_loaded(model: nn.Module, weights: Weights, but: tuple[str, ...] = ()) -> None:
    """Every tensor of the model is that of `weights`, but for names that begin with `but`, none of which is."""
    for name, value in model.state_dict().items():
        if not name.startswith(but) or not but:
            assert torch.equal(value, weights[name]), name
        elif value.dim() and value.shape == weights.get(name, value.new_empty(0)).shape:
            assert not torch.equal(value, weights[name]), name


def frontend(n_fft: int, sample_rate: int, f_max: float) -> Weights:
    """The front-end of a PANN: its published names; kernels by numpy, mel matrix by librosa."""
    librosa = pytest.importorskip("librosa")
    turns = np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) * (2 * np.pi / n_fft)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    mel = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=64, fmin=50, fmax=f_max).T
    parts = {
        "spectrogram_extractor.stft.conv_real.weight": (np.cos(turns) * window)[:, None],
        "spectrogram_extractor.stft.conv_imag.weight": (-np.sin(turns) * window)[:, None],
        "logmel_extractor.melW": mel,
    }
    return {name: torch.tensor(values, dtype=torch.float32) for name, values in parts.items()}


# As they were published.


def test_ast_as_published(tmp_path: Path) -> None:
    weights = random_weights(ast())
    dead = {"v.head.weight": torch.zeros(1000, 192), "v.head.bias": torch.zeros(1000)}
    dead |= {name.replace("head", "head_dist"): values for name, values in dead.items()}
    model = ast()
    report = load_initial(model, saved(tmp_path, {f"module.{name}": v for name, v in (weights | dead).items()}))
    require_loaded(model, weights)
    assert (report.family, report.loaded, report.head) == ("AST", len(weights), ())
    assert set(report.left_out) == set(dead)


# The original's names and Hugging Face's: of 2022, and of today.
HF_BLOCK = {
    "norm1": ("layernorm_before", "layernorm_before"),
    "norm2": ("layernorm_after", "layernorm_after"),
    "attn.proj": ("attention.output.dense", "attention.o_proj"),
    "mlp.fc1": ("intermediate.dense", "mlp.fc1"),
    "mlp.fc2": ("output.dense", "mlp.fc2"),
}
HF_THIRDS = (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"))
HF_OTHER = {
    "v.cls_token": "audio_spectrogram_transformer.embeddings.cls_token",
    "v.dist_token": "audio_spectrogram_transformer.embeddings.distillation_token",
    "v.pos_embed": "audio_spectrogram_transformer.embeddings.position_embeddings",
    "v.patch_embed.proj": "audio_spectrogram_transformer.embeddings.patch_embeddings.projection",
    "v.norm": "audio_spectrogram_transformer.layernorm",
    "mlp_head.0": "classifier.layernorm",
    "mlp_head.1": "classifier.dense",
}


def as_hugging_face(weights: Weights, today: bool) -> Weights:
    block = "audio_spectrogram_transformer." + ("layers.0" if today else "encoder.layer.0")
    renamed: Weights = {}
    for name, values in weights.items():
        module, _, kind = name.rpartition(".")
        if module.endswith("attn.qkv"):
            for third, names in zip(values.chunk(3), HF_THIRDS, strict=True):
                renamed[f"{block}.attention.{names[1] if today else f'attention.{names[0]}'}.{kind}"] = third.clone()
        elif name.startswith("v.blocks.0."):
            renamed[f"{block}.{HF_BLOCK[module.removeprefix('v.blocks.0.')][today]}.{kind}"] = values
        else:
            renamed[HF_OTHER[name] if name in HF_OTHER else f"{HF_OTHER[module]}.{kind}"] = values
    return renamed


@pytest.mark.parametrize("today", [False, True], ids=["2022", "today"])
def test_ast_of_hugging_face(tmp_path: Path, today: bool) -> None:
    weights, model = random_weights(ast()), ast()
    save_file(as_hugging_face(weights, today), tmp_path / "model.safetensors")
    report = load_initial(model, tmp_path / "model.safetensors")
    require_loaded(model, weights)
    assert report.family == "AST of Hugging Face"
    assert "query, key and value of each block joined" in str(report)


def test_deit_of_imagenet_fills_all_but_the_head(tmp_path: Path) -> None:
    weights = random_weights(ast())
    deit = {name.removeprefix("v."): v for name, v in weights.items() if name.startswith("v.")}
    deit["patch_embed.proj.weight"] = torch.rand(192, 3, 16, 16)
    deit["pos_embed"] = torch.rand(1, 2 + 5 * 5, 192)
    deit |= {"head.weight": torch.rand(1000, 192), "head_dist.bias": torch.rand(1000)}
    model = ast()
    report = load_initial(model, saved(tmp_path, {"model": deit}))
    colours = deit["patch_embed.proj.weight"]
    weights["v.patch_embed.proj.weight"] = (colours[:, 0] + colours[:, 1] + colours[:, 2])[:, None]
    # 5 x 5 patches to 3 x 4: rows from 5 // 2 - 3 // 2 = 1, columns from 5 // 2 - 4 // 2 = 0
    grid = deit["pos_embed"][0, 2:].reshape(5, 5, 192)[1:4, 0:4]
    weights["v.pos_embed"] = torch.cat([deit["pos_embed"][0, :2], grid.reshape(12, 192)])[None]
    torch.testing.assert_close(model.v.patch_embed.proj.weight.data, weights["v.patch_embed.proj.weight"])
    weights["v.patch_embed.proj.weight"] = model.v.patch_embed.proj.weight.data
    require_loaded(model, weights, but=("mlp_head.",))
    assert report.family == "DeiT"
    assert set(report.left_out) == {"head.weight", "head_dist.bias"}
    assert len(report.head) == 4


@pytest.mark.parametrize(
    ("n_fft", "sample_rate", "f_max"), [(256, 8000, 4000.0), (512, 16000, 8000.0), (1024, 32000, 14000.0)]
)
def test_a_pann_with_its_frontend_and_sampler(tmp_path: Path, n_fft: int, sample_rate: int, f_max: float) -> None:
    weights, model = random_weights(cnn14()), cnn14()
    checkpoint = {"iteration": 5, "model": weights | frontend(n_fft, sample_rate, f_max)}
    checkpoint["sampler"] = {"indexes_per_class": [np.arange(3)], "pointers_of_classes": [np.int64(2)], "queue": [1]}
    # Files of 2019 are older than torch's zip format.
    path = saved(tmp_path, checkpoint, _use_new_zipfile_serialization=sample_rate != 32000)
    report = load_initial(model, path, PANNsOptions.model_validate({"sample_rate": sample_rate}))
    require_loaded(model, weights)
    assert report.notes == (f"its front-end is that of PANNs at {sample_rate} Hz",)
    assert len(report.left_out) == 3


def test_efficientat_as_published(tmp_path: Path) -> None:
    weights, model = random_weights(mobilenet()), mobilenet()
    report = load_initial(model, saved(tmp_path, weights))
    require_loaded(model, weights)
    assert (report.family, report.head, report.left_out) == ("EfficientAT", (), ())


@pytest.mark.parametrize("make", [tal, taltrans])
def test_tal_with_every_convolution_twice(tmp_path: Path, make: Callable[..., nn.Module]) -> None:
    model = make()
    weights = random_weights(model)
    twice = {  # conv.0 is also conv1
        f"conv{int(name.split('.')[1]) + 1}.{name.split('.', 2)[2]}": v
        for name, v in weights.items()
        if name.startswith("conv.")
    }
    if make is taltrans:
        twice["positional_encoding.pe"] = torch.zeros(1, 400, 32)
    published = {f"module.{name}": v for name, v in (weights | twice).items()}
    report = load_initial(model, saved(tmp_path, published))
    require_loaded(model, weights)
    assert set(report.left_out) == set(twice)


@pytest.mark.parametrize("place", ["model", "sed_student"])
def test_a_checkpoint_of_ours(tmp_path: Path, place: str) -> None:
    sizes = TransformerOptions(dim=8, num_heads=2, depth=1)
    model = Transformer(sizes, InputShape(100, 32), CLASSES)
    weights = random_weights(model)
    report = load_initial(model, saved(tmp_path, {"epoch": 3, place: weights, "sed_teacher": {}}))
    require_loaded(model, weights)
    assert str(report).startswith(f"{tmp_path / 'weights.pth'}: {len(weights)} tensors loaded")


def test_a_lightning_checkpoint_with_the_class_weights_of_its_loss(tmp_path: Path) -> None:
    # fsd50k-pytorch trained with --cw keeps them as a buffer beside the network
    model, loss = mobilenet(), {"criterion.pos_weight": torch.ones(CLASSES)}
    weights = random_weights(model)
    load_initial(model, saved(tmp_path, {"state_dict": {f"net.{n}": v for n, v in weights.items()} | loss}))
    require_loaded(model, weights)


# What differs.


@pytest.mark.parametrize(
    ("make", "head"),
    [(ast, "mlp_head."), (cnn14, "fc_audioset."), (mobilenet, "classifier.5."), (tal, ("fc_prob.", "fc_att."))],
)
def test_of_other_classes_the_head_stays_as_initialised(
    tmp_path: Path, make: Callable[..., nn.Module], head: Any
) -> None:
    theirs, ours = make(5), make(CLASSES)
    weights, before = random_weights(theirs), {n: v.clone() for n, v in ours.state_dict().items() if n.startswith(head)}
    report = load_initial(ours, saved(tmp_path, weights))
    require_loaded(ours, weights, but=head)
    assert set(report.head) == set(before)
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in before.items())
    assert "the head stays as initialised (" in str(report)
    assert all(name in str(report) for name in before)


def test_a_cnn14_begins_one_that_decides_by_attention(tmp_path: Path) -> None:
    weights, model = random_weights(cnn14()), cnn14(decision="att")
    report = load_initial(model, saved(tmp_path, {"model": weights}))
    require_loaded(model, weights, but=("att_block.",))
    assert report.left_out == ("fc_audioset.weight", "fc_audioset.bias")


def test_position_embeddings_are_resized_and_the_report_says_so(tmp_path: Path) -> None:
    weights, model = random_weights(ast()), ast(mel_frames=32)  # 3 x 4 patches to 3 x 2: columns from 2 - 1
    report = load_initial(model, saved(tmp_path, weights))
    kept = [0, 1, *(2 + 4 * row + column for row in range(3) for column in (1, 2))]
    assert torch.equal(model.v.pos_embed[0], weights["v.pos_embed"][0, kept])
    assert report.notes == ("position embeddings of 3 x 4 patches resized to 3 x 2",)


def test_the_published_grid_is_known_whatever_the_stride_is_now(tmp_path: Path) -> None:
    weights = random_weights(ast()) | {"v.pos_embed": torch.rand(1, 2 + 12 * 101, 192)}
    model = ast()
    report = load_initial(model, saved(tmp_path, weights))
    rows = weights["v.pos_embed"][0, 2:].reshape(12, 101, 192)[6 - 1 : 6 + 2, 50 - 2 : 50 + 2]
    assert torch.equal(model.v.pos_embed[0, 2:], rows.reshape(12, 192))
    assert "12 x 101 patches resized to 3 x 4" in str(report)


def test_counters_that_old_files_lack_stay_as_they_are(tmp_path: Path) -> None:
    weights, model = random_weights(cnn14()), cnn14()
    old = {name: values for name, values in weights.items() if not name.endswith("num_batches_tracked")}
    load_initial(model, saved(tmp_path, {"model": old}))
    require_loaded(model, old | {n: v for n, v in cnn14().state_dict().items() if n.endswith("num_batches_tracked")})


# What is refused.


def without(weights: Weights, name: str) -> Weights:
    return {key: values for key, values in weights.items() if key != name}


def cut(weights: Weights, name: str) -> Weights:
    return weights | {name: weights[name][:2]}


BROKEN: list[tuple[str, Callable[[], nn.Module], Callable[[Weights], Weights], str]] = [
    ("a weight lacks", cnn14, lambda w: without(w, "conv_block2.conv1.weight"), "missing: conv_block2.conv1.weight"),
    ("half a head", cnn14, lambda w: without(w, "fc_audioset.bias"), "missing: fc_audioset.bias"),
    (
        "one too many",
        mobilenet,
        lambda w: w | {"features.17.0.weight": torch.zeros(1)},
        "no use here: features.17.0.weight",
    ),
    ("another shape", tal, lambda w: cut(w, "gru.bias_ih_l0"), r"another shape: gru.bias_ih_l0 \(2,\) for \(24,\)"),
    (
        "a wider head",
        cnn14,
        lambda w: w | {"fc_audioset.weight": torch.zeros(3, 9)},
        r"fc_audioset.weight \(3, 9\) for",
    ),
    (
        "not finite",
        ast,
        lambda w: w | {"v.norm.bias": torch.full((192,), math.nan)},
        "v.norm.bias holds values that are",
    ),
    (
        "another family",
        mobilenet,
        lambda w: random_weights(ast()),
        "holds weights of AST, the conf's model is EfficientAT",
    ),
    (
        "no family",
        ast,
        lambda w: {"fc.weight": torch.zeros(2, 2)},
        "weights of no published tagger, the conf's model is AST",
    ),
    (
        "positions",
        ast,
        lambda w: w | {"v.pos_embed": torch.zeros(1, 9, 192)},
        "are neither of 12 x 101 patches nor of 3",
    ),
    (
        "positions of no use",
        ast,
        lambda w: w | {"v.pos_embed": torch.zeros(9)},
        "v.pos_embed|position embeddings of shape",
    ),
    ("nothing", ast, lambda w: {}, "holds no weights"),
]


@pytest.mark.parametrize(("make", "change", "message"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_what_does_not_fit_is_refused_and_the_model_stays(
    tmp_path: Path, make: Callable[[], nn.Module], change: Callable[[Weights], Weights], message: str
) -> None:
    model = make()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    path = saved(tmp_path, change(random_weights(model)))
    with pytest.raises(CheckpointError, match=message) as refused:
        load_initial(model, path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    require_loaded(model, before)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "absent.pth", "absent.safetensors"])
def test_a_file_that_is_cut_short_or_absent_is_refused(tmp_path: Path, name: str) -> None:
    whole = saved(tmp_path, random_weights(mobilenet())).read_bytes()
    (tmp_path / "weights.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "weights.safetensors").write_bytes(whole[:100])
    with pytest.raises(CheckpointError, match=r"not a readable (checkpoint|safetensors file) \("):
        load_initial(mobilenet(), tmp_path / name)


def test_a_pann_of_another_rate_than_the_conf_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, {"model": random_weights(cnn14()) | frontend(512, 16000, 8000.0)})
    with pytest.raises(
        CheckpointError, match=r"PANNs at 16000 Hz, and the conf's is panns at 32000 Hz; set features to"
    ):
        load_initial(cnn14(), path, PANNsOptions())


@pytest.mark.parametrize("name", ["logmel_extractor.melW", "spectrogram_extractor.stft.conv_imag.weight"])
def test_a_pann_that_hears_otherwise_is_refused(tmp_path: Path, name: str) -> None:
    front = frontend(512, 16000, 8000.0)
    path = saved(tmp_path, {"model": random_weights(cnn14()) | front | {name: 1.01 * front[name]}})
    with pytest.raises(CheckpointError, match=f"{name} differs from the front-end of PANNs by up to"):
        load_initial(cnn14(), path)


def test_block_without_a_query_is_refused(tmp_path: Path) -> None:
    weights = as_hugging_face(random_weights(ast()), today=False)
    query = "audio_spectrogram_transformer.encoder.layer.0.attention.attention.query.weight"
    with pytest.raises(CheckpointError, match="block 0 has no query, key and value weight"):
        load_initial(ast(), saved(tmp_path, without(weights, query)))


# What a conf names.


def test_a_conf_begins_from_the_file_it_names(tmp_path: Path) -> None:
    weights = random_weights(ast())
    model = ast(initialisation="audioset", weights=saved(tmp_path, weights))
    report = initialise(model)
    assert isinstance(report, InitialWeights)
    require_loaded(model, weights)


def test_a_conf_that_names_nothing_begins_by_chance() -> None:
    model = ast()
    before = random_weights(model)
    model.load_state_dict(before)
    assert initialise(model) is None
    require_loaded(model, before)


def deit_of_timm(monkeypatch: pytest.MonkeyPatch, make: Callable[..., nn.Module]) -> None:
    monkeypatch.setattr("timm.create_model", make)


def test_imagenets_weights_come_from_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    asked: list[tuple[str, bool]] = []
    theirs = timm.create_model("deit_tiny_distilled_patch16_224", pretrained=False)

    def create(name: str, pretrained: bool) -> nn.Module:
        asked.append((name, pretrained))
        return theirs

    deit_of_timm(monkeypatch, create)
    model = ast(depth=12, initialisation="imagenet")
    assert initialise(model) is None
    assert asked == [("deit_tiny_distilled_patch16_224", True)]
    assert torch.equal(model.v.blocks[7].attn.qkv.weight, theirs.blocks[7].attn.qkv.weight)
    torch.testing.assert_close(model.v.patch_embed.proj.weight, theirs.patch_embed.proj.weight.sum(dim=1, keepdim=True))
    grid = theirs.pos_embed[0, 2:].reshape(14, 14, 192)[7 - 1 : 7 + 2, 7 - 2 : 7 + 2]
    assert torch.equal(model.v.pos_embed[0, 2:], grid.reshape(12, 192))


def test_without_a_network_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(name: str, pretrained: bool) -> nn.Module:
        raise OSError("no route to host\nretried 5 times")

    deit_of_timm(monkeypatch, create)
    with pytest.raises(
        FetchError, match=r"deit_tiny_distilled_patch16_224 cannot be fetched \(no route to host retried"
    ):
        initialise(ast(depth=12, initialisation="imagenet"))


def test_a_report_names_a_few_and_counts_the_rest(tmp_path: Path) -> None:
    report = InitialWeights(tmp_path, "AST", 5, tuple(f"h{number}" for number in range(8)), (), ("a note",))
    assert str(report).endswith("the head stays as initialised (h0, h1, h2, h3, h4, h5 and 2 more); a note")
