"""What does an embedder cost in a training step: bytes that autograd keeps for the way back, and bytes of weights?

    python -m benchmarks.embedding_memory [--device auto] [--peer DESED_task] [--json rows.json]

The detector is the baseline CRNN, which listens to an embedding of its clip of ten seconds, time-aligned. Of a step
(features, embedding, CRNN, losses) everything that autograd keeps is counted, exactly: each storage once, parameters
not. The embedder is heard in four ways:

stored      its embedding was extracted beforehand
frozen      in the step, without gradients
learning    in the step, with them
published   as the DESED baselines of 2022 to 2024 hear a frozen one (`e2e: True, freezed: True`): in eval mode, whose
            parameters the optimiser does not have, but with gradients

The peer of the rows is our network heard the published way. With --peer, a checkout of github.com/DCASE-REPO/DESED_task
at COMMIT, it is their network, which keeps more (their Cnn14 computes every block, their AST keeps attention maps),
and what our CRNN keeps is added; parity_desed_embedders.py says which packages it needs.

Row `memory frozen` is AST's, `memory frozen Cnn14` the other's; `memory learning` is beside the published way as well.
`weights` is what a frozen embedder holds, beside the whole network; a checkpoint holds nothing of it. On a GPU
`peak frozen` is the most memory that the step takes up (torch.cuda.max_memory_allocated), weights included.
"""

from __future__ import annotations

import inspect
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.machine import describe_machine
from benchmarks.peer_network import run_peer
from benchmarks.row_files import write_rows
from desed_task.batch import Embedding, Inputs, Predictions, Targets
from desed_task.embedders.build import BuiltEmbedder
from desed_task.embedders.options import ASTEmbedderOptions, NetworkOptions, PANNsEmbedderOptions
from desed_task.embeddings.embedder import freeze
from desed_task.features.logmel import LogMelOptions
from desed_task.models.crnn import CRNN, CRNNOptions
from desed_task.models.fusion import FusionOptions
from desed_task.models.tagger import InputShape
from desed_task.training.fit import choose_device
from desed_task.training.losses import supervised_loss

RATE, SECONDS, CLASSES = 16_000, 10.0, 10
TRUE_SIZES: Mapping[str, NetworkOptions] = {"AST": ASTEmbedderOptions(), "Cnn14": PANNsEmbedderOptions()}
WAYS = ("stored", "frozen", "published", "learning")
PUBLISHED = "published way"
COMMIT = "c6bcb45b8b98"
_PEER_CODE = """
from collections.abc import Callable, Iterable
from torch import Tensor
from local.ast.ast_models import ASTModel
from local.panns.models import Cnn14_16k

{functions}
def count(name, network, heard):
    network.eval()
    kept = saved_bytes(lambda: network(heard), [*network.parameters(), *network.buffers()])
    save(name, {{}}, heard, {{"kept": torch.tensor([0.0, kept], dtype=torch.float64)}})

count("Cnn14", Cnn14_16k(), waveforms(160000)[:1])
count("AST", ASTModel(527, 10, 10, 128, 1024, imagenet_pretrain=False, audioset_pretrain=False, verbose=False),
      features(1024, 128)[:1])
"""
Row = dict[str, Any]


class FusedStep:
    """Student and embedder, untrained, and one clip of noise."""

    def __init__(self, options: NetworkOptions, device: torch.device, clips: int = 1) -> None:
        listener = LogMelOptions()
        built = BuiltEmbedder(options, RATE, SECONDS)
        mel_frames = listener.num_frames(round(SECONDS * RATE))
        shape = InputShape(mel_frames, listener.n_mels, {"e": built.shape(listener)})
        with torch.device(device):
            torch.manual_seed(0)
            self.student = CRNN(CRNNOptions(fusion=FusionOptions(ways={"e": "aligned"})), shape, CLASSES)
            self.network = built.learner()
            self.heard = torch.randn(clips, *built._heard().shape[1:])
            self.mel = torch.randn(clips, mel_frames, listener.n_mels)
            frames = mel_frames // self.student.options.time_pooling
            known = torch.ones(clips, dtype=torch.bool)
            self.targets = Targets(torch.zeros(clips, frames, CLASSES), torch.zeros(clips, CLASSES), known, known)

    def embedding(self, way: str) -> Embedding:
        """The embedder, heard in one of WAYS."""
        self.network.train(way == "learning")
        with torch.set_grad_enabled(way in ("published", "learning")):
            embedding: Embedding = self.network(self.heard)
        if way == "stored":  # read, not computed: nothing hangs on it
            embedding = replace(embedding, values=embedding.values.clone())
        return embedding

    def loss(self, way: str) -> Tensor:
        """A step's loss."""
        embedding = self.embedding(way)
        predictions: Predictions = self.student.train()(Inputs(self.mel, {"e": embedding}))
        total, _ = supervised_loss(predictions, self.targets, 1.0, 1.0)
        return total

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Of both."""
        return [*self.student.parameters(), *self.network.parameters()]


def saved_bytes(work: Callable[[], object], parameters: Iterable[Tensor]) -> int:
    """What autograd keeps while `work` is done and until its result is gone, without the parameters."""
    own = {_storage(parameter) for parameter in parameters}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in own:
            kept[_storage(tensor)] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        work()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def kept_by_an_embedder(options: NetworkOptions, device: torch.device) -> dict[str, int]:
    """Way -> bytes that the embedder of a step keeps; torch's meta device will do, which computes nothing."""
    step = FusedStep(options, device)
    return {way: saved_bytes(lambda way=way: step.embedding(way), step.parameters) for way in WAYS}  # type: ignore[misc]


def kept_by_a_step(options: NetworkOptions, device: torch.device, clips: int = 1) -> dict[str, int]:
    """Way -> bytes that a step keeps."""
    step = FusedStep(options, device, clips)
    return {way: saved_bytes(lambda way=way: step.loss(way), step.parameters) for way in WAYS}  # type: ignore[misc]


def kept_by_the_peer(peer: Path) -> dict[str, int]:
    """Network -> bytes that theirs keeps of one clip."""
    functions = "\n".join(inspect.getsource(function) for function in (_storage, saved_bytes))
    cases = run_peer(
        _PEER_CODE.format(functions=functions), peer, tuple(TRUE_SIZES), "recipes/dcase2022_task4_baseline"
    )
    return {case.name: int(case.said["kept"][1]) for case in cases}


def rows(device: torch.device, peer: Path | None = None) -> list[Row]:
    """Of AST and of Cnn14."""
    machine, found = describe_machine(), []
    of_peer = {} if peer is None else kept_by_the_peer(peer)
    for name, options in TRUE_SIZES.items():
        also = "" if name == "AST" else f" {name}"
        kept = kept_by_a_step(options, device)
        published = kept["stored"] + of_peer[name] if of_peer else kept["published"]
        beside = f"DESED_task {COMMIT}, freezed" if of_peer else PUBLISHED
        for way in ("frozen", "learning"):
            row = {"name": f"memory {way}{also}", "value": kept[way] / 1e6, "unit": "MB per clip", "peer": beside}
            found.append({**row, "peer_value": published / 1e6, "ratio": published / kept[way]})
        found.append(_weights_row(options, f"weights{also}"))
        if device.type == "cuda":
            found.append(_peak_row(options, device, f"peak frozen{also}"))
    return [{**row, "machine": machine} for row in found]


def _weights_row(options: NetworkOptions, name: str) -> Row:
    built = BuiltEmbedder(options, RATE, SECONDS)
    with torch.device("meta"):
        whole, used = (sum(p.numel() for p in network.parameters()) for network in (built.network(), built.learner()))
    value, peer_value = 4e-6 * used, 4e-6 * whole
    row = {"name": name, "value": value, "unit": "MB", "peer": "whole network", "peer_value": peer_value}
    return {**row, "ratio": peer_value / value}


def _peak_row(options: NetworkOptions, device: torch.device, name: str) -> Row:
    peaks = {}
    for way in ("frozen", "published"):
        step = FusedStep(options, device)
        if way == "frozen":
            freeze(step.network)
        for _ in range(2):  # the first call makes work spaces
            torch.cuda.reset_peak_memory_stats(device)
            step.loss(way).backward()  # type: ignore[no-untyped-call]
            peaks[way] = torch.cuda.max_memory_allocated(device) / 1e6
        del step
        torch.cuda.empty_cache()
    row = {"name": name, "value": peaks["frozen"], "unit": "MB", "peer": PUBLISHED, "peer_value": peaks["published"]}
    return {**row, "ratio": peaks["published"] / peaks["frozen"]}


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def main() -> int:
    """Print the rows."""
    parser = ArgumentParser(description="What an embedder costs in a training step.")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--peer", type=Path, help="checkout of DESED_task, with its packages in packages/")
    parser.add_argument("--json", type=Path, help="file that receives the rows")
    arguments = parser.parse_args()
    found = rows(choose_device(arguments.device), arguments.peer)
    for row in found:
        peer = f"{row['peer']} {row['peer_value']:.2f}"
        print(f"{row['name']}: {row['value']:.2f} {row['unit']}, {peer}, ratio {row['ratio']:.1f}")
    if arguments.json is not None:
        write_rows(found, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
