"""How embeddings that lie on the frames of the features join them.

Each join is a module of features (batch, frames, width) and others (batch, frames, their widths), giving (batch,
frames, width). Dropout is on what is joined: on all of it as published, or on the embeddings where they are gated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from desed_task.models.dropout import Dropout

JoinName = Literal["concatenated", "gated"]
# Bias of every gate at the beginning of a training: sigmoid(-2) = .12 of an embedding is heard.
_FIRST_GATE = -2.0


class Concatenated(nn.Module):
    """A linear layer on features and embeddings side by side, as published."""

    def __init__(self, width: int, others: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(width + sum(others), width)

    def forward(self, x: Tensor, others: Sequence[Tensor]) -> Tensor:
        """(batch, frames, width) and others -> (batch, frames, width)."""
        joined: Tensor = self.linear(self.dropout(torch.cat([x, *others], dim=-1)))
        return joined


class Gated(nn.Module):
    """Features + gate * linear(embedding) for each embedding; the gate hears both, and begins nearly closed."""

    def __init__(self, width: int, others: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.values = nn.ModuleList(nn.Linear(other, width) for other in others)
        self.gates = nn.ModuleList(nn.Linear(width + other, width) for other in others)
        for gate in self.gates:
            nn.init.constant_(gate.bias, _FIRST_GATE)  # type: ignore[arg-type]

    def forward(self, x: Tensor, others: Sequence[Tensor]) -> Tensor:
        """(batch, frames, width) and others -> (batch, frames, width)."""
        joined = x
        for value, gate, other in zip(self.values, self.gates, others, strict=True):
            heard = self.dropout(other)
            joined = joined + torch.sigmoid(gate(torch.cat([x, heard], dim=-1))) * value(heard)
        return joined


JOINS: Mapping[JoinName, Callable[[int, Sequence[int], float], nn.Module]] = {
    "concatenated": Concatenated,
    "gated": Gated,
}
