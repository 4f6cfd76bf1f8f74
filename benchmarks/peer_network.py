"""A published network run aside: with random weights it saves what it was published as, what it heard and what it said.

    for case in run_peer(CODE, peer, names): ...

CODE runs in a process of its own with the peer's checkout, and the packages in PEER/packages, on its path; _PRELUDE
says what it may use, and the environment's PEER is the checkout. What it saved is read here and heard by our network,
into which the file was loaded as a user's `--init_from` would be: equal answers show network, names and loader at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from desed_task.batch import Inputs, Predictions
from desed_task.errors import DesedTaskError
from desed_task.published.taggers import load_initial

# Networks as they are initialised say nearly the same about everything, so that any two would agree. `enliven` gives
# batch norms the statistics of what they hear, off by a little, and linear maps (the head most) larger weights.
_PRELUDE = """
import collections.abc, sys, types
import torch
sys.modules["wget"] = types.ModuleType("wget")
six = types.ModuleType("torch._six")
six.container_abcs, six.string_classes, six.int_classes = collections.abc, str, int
sys.modules["torch._six"] = six
torch.manual_seed(0)

HEADS = ("fc_audioset", "att_block", "fc_prob", "fc_att", "mlp_head", "classifier.5")

def features(frames, bands):  # two clips of different colour and course
    return torch.randn(2, frames, bands) + torch.randn(2, 1, bands) + torch.randn(2, frames, 1)

def waveforms(samples):  # noise, and tones that come and go over noise 60 dB below full scale
    time = torch.arange(samples) / 16000
    tones = torch.sin(2764.6 * time) * torch.sin(9.0 * time) + torch.sin(14000.0 * time) * torch.cos(3.0 * time)
    return torch.stack([0.1 * torch.randn(samples), 0.2 * tones + 1e-3 * torch.randn(samples)])

def enliven(network, heard, head=10.0, inner=1.0):
    norms = [m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for name, module in network.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv1d)):
            module.weight.data.mul_(head if any(part in name for part in HEADS) else inner)
    for norm in norms:
        norm.momentum = 1.0
        torch.nn.init.uniform_(norm.weight, 0.7, 1.3)
        torch.nn.init.normal_(norm.bias, 0, 0.2)
    network.eval()
    for norm in norms:
        norm.train()
    with torch.no_grad():
        network(heard)
    for norm in norms:
        norm.running_mean.add_(0.1 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean))
        norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.8, 1.25))
    return network.eval()

def save(name, weights, heard, said):
    torch.save(weights, f"{name}.pth")
    torch.save({"heard": heard, "said": said}, f"{name}.case.pt")
"""


# What is saved beside the answers.
_NOT_SAID = ("mlp_head.0.weight", "mlp_head.0.bias", "mlp_head.1.weight", "mlp_head.1.bias", "waveform")


@dataclass(frozen=True)
class PeerCase:
    """One network of the peer: its published file, what it heard, and its answers by name."""

    name: str
    checkpoint: Path
    heard: Tensor
    said: dict[str, Tensor]

    def answer(self, model: nn.Module, heard: Tensor | None = None) -> Predictions:
        """What our model says after loading the file; `heard` in place of what the peer heard."""
        load_initial(model, self.checkpoint)
        with torch.inference_mode():
            predictions: Predictions = model.eval()(Inputs(self.heard if heard is None else heard))
        return predictions


def run_peer(code: str, peer: Path, names: Sequence[str], source: str = ".") -> Iterator[PeerCase]:
    """The cases of these names that `code` saves; `source` is the folder of the checkout that its imports start from.

    DesedTaskError with the last line of what it printed when it fails.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # AST looks for its checkpoint in ../../pretrained_models.
        folder = Path(scratch) / "egs" / "parity"
        folder.mkdir(parents=True)
        path = [str(peer.resolve() / "packages"), str(peer.resolve() / source)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path), "PEER": str(peer.resolve())}
        command = [sys.executable, "-W", "ignore", "-c", _PRELUDE + code]
        ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if ran.returncode:
            last = ran.stderr.strip().splitlines()[-1:] or ["no message"]
            raise DesedTaskError(f"{peer}: the published network cannot be run ({last[0]}); see the packages it needs")
        for name in names:
            case: dict[str, Any] = torch.load(folder / f"{name}.case.pt", weights_only=True)
            _require_a_difference(name, case["said"])
            yield PeerCase(name, folder / f"{name}.pth", case["heard"], case["said"])


def _require_a_difference(name: str, said: Mapping[str, Tensor]) -> None:
    """Two clips must be told apart by far more than the tolerance, else agreement shows nothing."""
    for answer, values in said.items():
        if answer not in _NOT_SAID and (values[0] - values[1]).abs().max() < 0.1:
            raise DesedTaskError(f"{name}: {answer} of two clips differ by less than 0.1; enliven the network")


def largest_difference(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Over all numbers of all pairs, which have equal shapes."""
    for ours, theirs in pairs:
        if ours.shape != theirs.shape:
            raise DesedTaskError(f"ours gives {tuple(ours.shape)}, the published network {tuple(theirs.shape)}")
    return max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
