"""The step of the mean-teacher baseline as one writes it first: the peer of training_step.py where no other is at hand.

torchaudio's mel, gated units by nn.Linear, nn.Dropout, masks of booleans, Adam parameter by parameter, an average in a
loop, no thought of memory formats or of malloc: `confs/sed/compat_2022.yaml` computes the same.
"""

from __future__ import annotations

import copy
import random

import numpy as np
import torch
from torch import Tensor, nn
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from desed_task.batch import Batch, Inputs
from desed_task.models.blocks import GLU
from desed_task.models.crnn import CRNN, CRNNOptions
from desed_task.models.dropout import Dropout
from desed_task.models.tagger import InputShape

_RATE, _DECAY, _WEIGHT, _ALPHA = 1e-3, 0.999, 2.0, 0.2


class PlainStep:
    """Student, teacher and all that a step needs; `make` makes one."""

    def __init__(self, options: CRNNOptions, n_mels: int, num_classes: int) -> None:
        self.mel = MelSpectrogram(
            16000, 2048, 2048, 256, 0.0, 8000.0, n_mels=n_mels, window_fn=torch.hamming_window,
            wkwargs={"periodic": False}, power=1,
        )  # fmt: skip
        self.to_db = AmplitudeToDB(stype="amplitude")
        self.to_db.amin = 1e-5
        self.student = _plain(CRNN(options, InputShape(626, n_mels), num_classes))
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.student.parameters(), lr=_RATE, foreach=False, fused=False)
        self.steps = 0

    def make(self, batch: Batch) -> dict[str, float]:
        """One step; it has no pieces that are timed."""
        mel, targets = self.mel(batch.waveform).transpose(1, 2), batch.targets
        strong_targets, weak_targets = targets.strong.clone(), targets.weak.clone()
        if random.random() < 0.5:
            for known in (targets.has_weak, targets.has_strong):
                share, partner = float(np.random.beta(_ALPHA, _ALPHA)), torch.randperm(int(known.sum()))
                for values in (mel, strong_targets, weak_targets):
                    values[known] = share * values[known] + (1 - share) * values[known][partner]
        heard = Inputs(_scaled(self.to_db(mel).clamp(-50, 80)))
        student = self.student(heard)
        with torch.no_grad():
            teacher = self.teacher(heard)
        entropy, squared = nn.BCELoss(), nn.MSELoss()
        loss = entropy(student.strong_probs[targets.has_strong], strong_targets[targets.has_strong])
        loss = loss + entropy(student.weak_probs[targets.has_weak], weak_targets[targets.has_weak])
        consistency = squared(student.strong_probs, teacher.strong_probs)
        loss = loss + _WEIGHT * (consistency + squared(student.weak_probs, teacher.weak_probs))
        self.steps += 1
        share = min(1 - 1 / (self.steps + 1), _DECAY)
        for mine, its in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mine.data.mul_(share).add_(its.data, alpha=1 - share)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {}


class _PlainGlu(nn.Module):
    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        linear = self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        gated: Tensor = linear * torch.sigmoid(x)
        return gated


def _plain(network: CRNN) -> nn.Module:
    layers = [_PlainGlu(layer.linear) if isinstance(layer, GLU) else layer for layer in network.cnn.cnn]
    plain = [nn.Dropout(layer.probability) if isinstance(layer, Dropout) else layer for layer in layers]
    replaced: nn.Module = network
    replaced.cnn, replaced.dropout = nn.Sequential(*plain), nn.Dropout(network.options.dropout)
    return replaced


def _scaled(decibel: Tensor) -> Tensor:
    low, high = decibel.amin((1, 2), keepdim=True), decibel.amax((1, 2), keepdim=True)
    return (decibel - low) / (high - low + 1e-8)
