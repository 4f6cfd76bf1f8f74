"""What an embedder costs in a training: nothing is kept for the way back of a frozen one, nor is it in a checkpoint.

`saved_tensors_hooks` tell every tensor that autograd keeps; each storage counts once, parameters not at all. The
published code hears a frozen embedder in eval mode with gradients, and keeps its graph.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from fused_systems import AST, CNN14, RATE, SECONDS, fused_options, write_weights
from torch import Tensor, nn

from benchmarks.embedding_memory import TRUE_SIZES, kept_by_a_step, kept_by_an_embedder, saved_bytes
from desed_task.batch import Embedding, Predictions
from desed_task.experiment import SedOptions
from desed_task.system import build_ears, build_model
from desed_task.training.sed_module import SedModule

pytestmark = pytest.mark.usefixtures("one_thread")

BOTH = {"cnn14": CNN14, "ast": AST}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for name, embedder in BOTH.items():
        write_weights(folder / f"{name}.pt", embedder)
    return folder


def options_of(folder: Path, name: str, mode: str) -> SedOptions:
    embedder = {**BOTH[name], "mode": mode, "weights": str(folder / f"{name}.pt")}
    return fused_options({"e": embedder}, {"e": "aligned"})


def module_of(options: SedOptions) -> SedModule:
    rates = {"e": 1e-5} if options.embedders["e"].mode == "learning" else {}
    student, ears = build_model(options), build_ears(options)
    return SedModule(student, ears, options.training, (), 5, lambda _: {"objective": 0.0}, {}, rates)


def test_a_tensor_that_is_kept_counts_once_and_parameters_do_not() -> None:
    """x * x keeps x (twice), the linear layer its input x and its weight: 4 bytes of each of 3 x 5 numbers."""
    layer, x = nn.Linear(5, 2), torch.zeros(3, 5, requires_grad=True)
    assert saved_bytes(lambda: layer(x).sum() + (x * x).sum(), layer.parameters()) == 3 * 5 * 4


@pytest.mark.parametrize("name", list(BOTH))
def test_a_frozen_embedder_keeps_nothing_for_the_way_back(folder: Path, name: str) -> None:
    """A step keeps the very bytes that it keeps when the embedding was stored."""
    options = options_of(folder, name, "frozen")
    module = module_of(options)
    waveform = 0.1 * torch.randn(2, round(SECONDS * RATE), generator=torch.Generator().manual_seed(0))

    def kept(stored: Mapping[str, Embedding]) -> int:
        def hear() -> Tensor:
            predictions: Predictions = module.sed_student(module.ears(waveform, stored))
            return predictions.weak_logits.sum()

        return saved_bytes(hear, module.sed_student.parameters())

    with torch.no_grad():
        embedding = module.ears.frozen["e"](waveform)
    assert kept({}) == kept({"e": embedding}) > 0


@pytest.mark.parametrize("name", list(TRUE_SIZES))
def test_at_the_true_size_only_gradients_are_dear(name: str) -> None:
    """One clip of ten seconds, on torch's meta device: shapes and no numbers."""
    kept = kept_by_an_embedder(TRUE_SIZES[name], torch.device("meta"))
    assert 0 == kept["stored"] == kept["frozen"] < kept["published"] <= kept["learning"], kept
    assert kept["published"] > 50e6, kept


@pytest.mark.slow
@pytest.mark.parametrize("name", list(TRUE_SIZES))
def test_a_step_at_the_true_size_keeps_no_more_with_a_frozen_embedder_than_with_a_stored_embedding(name: str) -> None:
    kept = kept_by_a_step(TRUE_SIZES[name], torch.device("cpu"))
    assert kept["stored"] == kept["frozen"] < kept["published"] <= kept["learning"], kept


@pytest.mark.parametrize("name", list(BOTH))
def test_a_frozen_embedder_adds_nothing_to_a_checkpoint(folder: Path, name: str) -> None:
    modules = {mode: module_of(options_of(folder, name, mode)) for mode in ("frozen", "learning")}
    frozen, learning = (module.state_dict() for module in modules.values())
    assert not [key for key in frozen if key.startswith("ears.") or "embedder" in key]
    assert {key.replace("student.", "student.detector.").replace("teacher.", "teacher.detector.") for key in frozen} < (
        set(learning)
    )
    own = [key for key in learning if ".embedders.e.network." in key]
    assert len(own) > 4 and len(own) == len(learning) - len(frozen)
    sizes = [file_size({**module.weights(), "state_dict": module.state_dict()}) for module in modules.values()]
    embedder_bytes = sum(p.numel() * 4 for p in modules["learning"].sed_student.embedders.parameters())
    assert sizes[1] - sizes[0] > 2 * embedder_bytes  # student and teacher


def file_size(content: Mapping[str, object]) -> int:
    stream = io.BytesIO()
    torch.save(content, stream)
    return len(stream.getvalue())
