"""What MobileNet, PANNs, AST, TAL and transformers keep to, at small size: frames of any length, clips kept apart."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from desed_task.batch import Inputs
from desed_task.embeddings.ears import Ears
from desed_task.export import ProbabilityGraph, trace_graph
from desed_task.features.frontend import StagedFrontend
from desed_task.models.ast import AST, ASTOptions
from desed_task.models.cnn14 import Cnn14, Cnn14Options
from desed_task.models.mobilenet import MobileNet, MobileNetOptions
from desed_task.models.tagger import InputShape
from desed_task.models.talnet import TALNet, TALNetOptions, TALTrans, TALTransOptions
from desed_task.models.transformer import Linear, LinearOptions, Transformer, TransformerOptions
from desed_task.onnx_runtime import onnxruntime

BANDS, CLASSES, MEL_FRAMES = 32, 3, 100
SHAPE = InputShape(MEL_FRAMES, BANDS)
TAL = {"embedding_size": 32, "n_conv_layers": 4, "n_pool_layers": 2}
AST_SIZE = {"model_size": "tiny224", "depth": 2, "fstride": 16, "tstride": 16}
SMALL: dict[str, tuple[Callable[..., nn.Module], Any]] = {
    "mobilenet": (MobileNet, MobileNetOptions(width=0.1)),
    "cnn14": (Cnn14, Cnn14Options(width=0.03)),
    "cnn14, max": (Cnn14, Cnn14Options(width=0.03, decision="max")),
    "cnn10, avg": (Cnn14, Cnn14Options(architecture="cnn10", width=0.06, decision="avg")),
    "cnn6, att": (Cnn14, Cnn14Options(architecture="cnn6", width=0.06, decision="att")),
    "ast": (AST, ASTOptions(**AST_SIZE)),
    "ast, frames": (AST, ASTOptions(**AST_SIZE, pooling="frames")),
    "tal": (TALNet, TALNetOptions(**TAL, pooling="att")),
    "tal, lin": (TALNet, TALNetOptions(**TAL, batch_norm=False, kernel_size=(3, 5))),
    "taltrans": (TALTrans, TALTransOptions(**TAL, addpos=True, pooling="exp", transformer_dropout=0.1)),
    "linear": (Linear, LinearOptions(hidden_dim=8)),
    "transformer": (Transformer, TransformerOptions(dim=16, num_heads=2, depth=2)),
}
every_tagger = pytest.mark.parametrize("name", SMALL)
free_length = pytest.mark.parametrize("name", [name for name in SMALL if not name.startswith("ast")])


def build(name: str) -> Any:
    """With random weights and the running statistics of a batch, without which deep networks fade out in eval mode."""
    torch.manual_seed(0)
    make, options = SMALL[name]
    model = make(options, SHAPE, CLASSES)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()(mel(8))
    return model


def mel(clips: int = 2, mel_frames: int = MEL_FRAMES) -> Inputs:
    return Inputs(torch.randn(clips, mel_frames, BANDS, generator=torch.Generator().manual_seed(1)))


@free_length
@pytest.mark.parametrize("mel_frames", [1, 31, 33, 130, 300])
def test_a_clip_of_any_length_has_frames_and_a_score(name: str, mel_frames: int) -> None:
    predictions = build(name).eval()(mel(2, mel_frames))
    exact = mel_frames / SMALL[name][1].time_pooling
    frames = predictions.strong_logits.shape[1]
    assert predictions.strong_logits.shape == (2, frames, CLASSES)
    assert predictions.weak_logits.shape == (2, CLASSES)
    assert predictions.weak_logits.isfinite().all()
    assert frames in {max(1, int(exact)), -int(-exact // 1)}  # rounded down or up, but never none


@pytest.mark.parametrize("mel_frames", [1, 16, 99, 101, 250])
def test_ast_hears_one_length_to_which_others_are_brought(mel_frames: int) -> None:
    model = build("ast, frames").eval()
    given = mel(2, mel_frames).mel
    fitted = torch.cat([given, torch.zeros(2, MEL_FRAMES, BANDS)], dim=1)[:, :MEL_FRAMES]
    predictions = model(Inputs(given))
    assert predictions.strong_logits.shape == (2, (100 - 16) // 16 + 1, CLASSES)
    assert torch.equal(predictions.weak_logits, model(Inputs(fitted)).weak_logits)


def test_ast_by_class_tokens_has_no_frames() -> None:
    assert build("ast").eval()(mel()).strong_logits is None


def test_the_length_that_ast_hears_may_be_told() -> None:
    options = ASTOptions(**AST_SIZE, input_tdim=64, pooling="frames")
    model = AST(options, SHAPE, CLASSES).eval()
    assert model.grid == (2, 4)
    assert model(mel()).strong_logits.shape == (2, 4, CLASSES)


@every_tagger
def test_clips_do_not_hear_one_another(name: str) -> None:
    model, inputs = build(name).eval(), mel(3)
    together = model(inputs)
    for clip in range(3):
        alone = model(Inputs(inputs.mel[clip : clip + 1]))
        torch.testing.assert_close(alone.weak_logits[0], together.weak_logits[clip], atol=1e-5, rtol=1e-4)
        if together.strong_logits is not None:
            torch.testing.assert_close(alone.strong_logits[0], together.strong_logits[clip], atol=1e-5, rtol=1e-4)


@every_tagger
def test_clips_are_told_apart(name: str) -> None:
    weak = build(name).eval()(Inputs(mel(2).mel * torch.tensor([1.0, 4.0])[:, None, None])).weak_logits
    assert (weak[0] - weak[1]).abs().max() > 1e-4


@every_tagger
def test_every_parameter_learns(name: str) -> None:
    model = build(name).train()
    predictions = model(mel(8))
    loss = nn.functional.binary_cross_entropy_with_logits(predictions.weak_logits, torch.ones(8, CLASSES))
    if predictions.strong_logits is not None:
        loss = loss + predictions.strong_logits.square().mean()
    loss.backward()
    trained = {key: value for key, value in model.named_parameters() if value.requires_grad}
    assert {key for key, value in trained.items() if value.grad is None or not value.grad.abs().sum() > 0} == set()
    # The published attention block carries a batch norm that nothing uses; training over several processes minds.
    frozen = {key for key, value in model.named_parameters() if not value.requires_grad}
    assert frozen == ({"att_block.bn_att.weight", "att_block.bn_att.bias"} if name == "cnn6, att" else set())


@every_tagger
def test_a_copy_is_another_model_of_the_same_mind(name: str) -> None:
    model = build(name).eval()
    teacher = copy.deepcopy(model)
    before = teacher(mel()).weak_logits
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(0.5)
    assert torch.equal(teacher(mel()).weak_logits, before)
    assert not torch.equal(model(mel()).weak_logits, before)


@every_tagger
def test_the_head_is_all_that_depends_on_the_classes(name: str) -> None:
    make, options = SMALL[name]
    one, other = (make(options, SHAPE, classes).state_dict() for classes in (3, 5))
    differ = {key for key in one if one[key].shape != other[key].shape}
    head: tuple[str, ...] = make.HEAD  # type: ignore[attr-defined]
    assert differ
    assert all(key.startswith(head) for key in differ)
    shared = {"mlp_head.0.weight", "mlp_head.0.bias", "att_block.bn_att.num_batches_tracked"}
    assert {key for key in one if key.startswith(head)} - differ <= shared


@every_tagger
def test_scores_stay_in_float32_in_mixed_precision(name: str) -> None:
    model = build(name).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(mel())
    assert mixed.weak_logits.dtype == torch.float32
    assert mixed.strong_logits is None or mixed.strong_logits.dtype == torch.float32
    torch.testing.assert_close(mixed.weak_probs, model(mel()).weak_probs, atol=0.1, rtol=0)


class Folded(StagedFrontend):
    """A front-end of no arithmetic: samples, row by row, as a spectrogram."""

    def spectrum(self, waveform: Tensor) -> Tensor:
        return waveform.reshape(waveform.shape[0], -1, BANDS)

    def compress(self, spectrum: Tensor) -> Tensor:
        return spectrum

    def normalise(self, logarithm: Tensor) -> Tensor:
        return logarithm


@every_tagger
def test_its_graph_hears_any_length(name: str) -> None:
    graph = ProbabilityGraph(Ears(Folded()), build(name).eval())
    outputs = ("weak",) if name == "ast" else ("strong", "weak")
    session = onnxruntime.InferenceSession(trace_graph(graph, outputs), providers=["CPUExecutionProvider"])
    for clips, mel_frames in ((1, 3), (3, 150), (2, 331)):
        waveform = mel(clips, mel_frames).mel.flatten(1)
        for exported, expected in zip(session.run(None, {"waveform": waveform.numpy()}), graph(waveform), strict=True):
            np.testing.assert_allclose(exported, expected.detach().numpy(), atol=1e-4)


def test_the_clip_of_cnn14_with_decisions_follows_its_frames() -> None:
    most = build("cnn14, max").eval()(mel(2, 200))
    torch.testing.assert_close(most.weak_logits, most.strong_logits.amax(dim=1))
    mean = build("cnn10, avg").eval()(mel(2, 200))
    torch.testing.assert_close(mean.weak_probs, mean.strong_probs.mean(dim=1))


def test_short_clips_are_continued_by_their_last_mel_frame() -> None:
    model, short = build("cnn14").eval(), mel(2, 5).mel
    prolonged = torch.cat([short, short[:, -1:].expand(-1, 27, -1)], dim=1)
    assert torch.equal(model(Inputs(short)).weak_logits, model(Inputs(prolonged)).weak_logits)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("cnn14", InputShape(100, 31), "leaves nothing of 31; take a front-end of at least 32 bands"),
        ("cnn6, att", InputShape(100, 15), "at least 16 bands"),
        ("ast", InputShape(100, 15), "15 mel bands are fewer"),
        ("ast", InputShape(15, 32), "15 mel frames are fewer"),
        ("tal", InputShape(100, 3), "2 pools leave nothing of 3 mel bands"),
        ("tal", InputShape(100, 128), "embedding_size 32 leaves no channel for 128 mel bands; take at least 64"),
        ("tal", InputShape(100, 20), "embedding_size 32 is no multiple of the 5 bands that are left of 20"),
    ],
)
def test_input_that_cannot_be_heard_is_refused_in_a_sentence(name: str, shape: InputShape, message: str) -> None:
    make, options = SMALL[name]
    with pytest.raises(ValueError, match=message):
        options.require_fit(shape)
    with pytest.raises(ValueError, match=message):
        make(options, shape, CLASSES)


@pytest.mark.parametrize(
    ("options", "values", "message"),
    [
        (ASTOptions, {"initialisation": "audioset"}, "initialisation audioset needs weights"),
        (ASTOptions, {"weights": "x.pth"}, "are not used with initialisation none"),
        (ASTOptions, {"initialisation": "imagenet", "depth": 4}, "DeiT of ImageNet has 12 blocks"),
        (ASTOptions, {"tstrid": 4}, "Extra inputs are not permitted"),
        (TALNetOptions, {"n_pool_layers": 3}, "n_conv_layers 10 is no multiple of n_pool_layers 3"),
        (TALNetOptions, {"kernel_size": (3, 4)}, r"kernel_size \[3, 4\] is even"),
        (TALNetOptions, {"embedding_size": 31}, "embedding_size 31 is odd"),
        (TALTransOptions, {"embedding_size": 36}, "no multiple of the 8 attention heads"),
        (TransformerOptions, {"dim": 10, "num_heads": 4}, "dim 10 is no multiple of num_heads 4"),
    ],
)
def test_contradictory_options_are_refused(options: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        options(**values)
