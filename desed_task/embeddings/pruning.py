"""What an embedding is made of: the parts of its network that play no part in it are left out.

A published network is asked for one of its embeddings. What stands behind that (of Cnn14's 80.8 million parameters all
but 1.1 million for `frame`, the heads of AST) would be carried along in memory and checkpoints, twice with a teacher,
and its parameters never get a gradient, which a training of several ranks (DDP) waits for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor, nn

from desed_task.embeddings.embedder import Network


class LeftOut(nn.Module):
    """Stands where a part was that the embedding does not need."""

    def forward(self, *_: object, **__: object) -> Tensor:
        """RuntimeError: only another embedding comes here."""
        raise RuntimeError("this part of the network was left out: the embedding that it is for needs none of it")


def parameters_in_use(network: Network, heard: Tensor) -> frozenset[str]:
    """Names of the parameters that the embedding of `heard` (batch, mel_frames, mel_bands) depends on.

    Asked of the graph of one pass, which may be on the meta device.
    """
    was_training = network.training
    with torch.inference_mode(False), torch.enable_grad():
        values = network.eval()(heard).values
    network.train(was_training)
    reached = {id(leaf) for leaf in _leaves(values)}
    return frozenset(name for name, parameter in network.named_parameters() if id(parameter) in reached)


def prune(network: Network, in_use: Collection[str]) -> Network:
    """Leave out, in place, every part that has parameters and none in use; single ones no longer learn."""
    _prune(network.network, "network.", in_use)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in in_use)
    return network


def _prune(module: nn.Module, place: str, in_use: Collection[str]) -> None:
    for name, part in list(module.named_children()):
        inside = f"{place}{name}."
        names = [inside + of for of, _ in part.named_parameters()]
        if names and not any(name in in_use for name in names):
            module.add_module(name, LeftOut())
        else:
            _prune(part, inside, in_use)


def _leaves(values: Tensor) -> Iterator[Tensor]:
    """The tensors that a graph begins with and that want gradients."""
    waiting, seen = [values.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            yield variable
        waiting.extend(following for following, _ in node.next_functions)
