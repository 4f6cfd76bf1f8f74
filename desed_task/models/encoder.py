"""A transformer's encoder block, normalised first, with the parameter names of timm's vision transformers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from desed_task.models.dropout import Dropout

_NORM_EPS = 1e-6
_MLP_RATIO = 4


class EncoderBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)). (batch, tokens, dim) -> (batch, tokens, dim)."""

    def __init__(self, dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.attn = _Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.mlp = _Mlp(dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        x = x + self.dropout(self.attn(self.norm1(x)))
        fed: Tensor = x + self.dropout(self.mlp(self.norm2(x)))
        return fed


class _Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        of_heads = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(of_heads[0], of_heads[1], of_heads[2])
        mapped: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return mapped


class _Mlp(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, _MLP_RATIO * dim)
        self.fc2 = nn.Linear(_MLP_RATIO * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        mapped: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return mapped
