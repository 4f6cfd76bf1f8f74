"""Numbers that are not finite: the training stops at the step where they appear and names where they come from.

Asked in the order in which a step goes: waveform, features, embeddings, the student's logits, the terms of the loss;
the first that is not finite is the culprit. A CPU looks at every step. A GPU keeps the evidence of the first bad batch
and is asked every 50 batches and before every checkpoint, so that no step waits for the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from desed_task.batch import Batch, Inputs, Predictions
from desed_task.errors import DesedTaskError

LOOK_EVERY = 50
_WAVEFORM = "the waveform of {} is not finite; leave the clip out or pack it again"
SLOWER = "lower training.learning_rate or set training.gradient_clip"


class DivergedError(DesedTaskError):
    """A training that is lost. is_heard: already a waveform or its features were not finite.

    Where several ranks share a batch norm, only the rank that heard it knows the culprit; the others see what follows.
    """

    def __init__(self, message: str, is_heard: bool) -> None:
        super().__init__(message)
        self.is_heard = is_heard


class Names(NamedTuple):
    """What the numbers of a step are of: clips, what is heard of each (as `_heard` says it), terms of the loss."""

    clips: tuple[str, ...]
    heard: tuple[str, ...]
    terms: tuple[str, ...]


class DivergenceWatch:
    """Looks at every step's numbers; `look_every` 1 asks at once, None takes 1 on a CPU and 50 on a GPU."""

    def __init__(self, look_every: int | None = None) -> None:
        self.look_every = look_every
        self._bad: Tensor | None = None
        self._evidence: Tensor | None = None
        self._watched = 0
        # Each batch since the last look: accumulated batches share one step.
        self._seen: dict[int, tuple[int, Names]] = {}

    def watch(
        self, step: int, batch: Batch, inputs: Inputs, student: Predictions, loss: Tensor, terms: Mapping[str, Tensor],
        model: nn.Module,
    ) -> None:  # fmt: skip
        """DesedTaskError when the loss of this step (or, looked at later, of one before) is not finite."""
        terms = {name: term for name, term in terms.items() if term.device == loss.device}  # nothing waits for a copy
        look_every = self.look_every or (1 if loss.device.type == "cpu" else LOOK_EVERY)
        names = Names(_clip_names(batch), tuple(_heard(inputs)), tuple(terms))
        if look_every == 1:
            if not torch.isfinite(loss):
                flags = gather_evidence(batch, inputs, student, terms).tolist()
                raise _diverged(step, culprit_of(flags, names, first_bad_name(model)), _is_heard(flags, names))
            return
        self._remember(step, names, loss, gather_evidence(batch, inputs, student, terms))
        if self._watched % look_every == 0:
            self.look()

    def look(self) -> None:
        """DesedTaskError when a step so far was not finite; asks the device."""
        if self._bad is None or self._evidence is None:
            return
        bad = int(self._bad)
        if bad >= 0:
            step, names = self._seen[bad]
            flags = self._evidence.tolist()
            raise _diverged(step, culprit_of(flags, names, None), _is_heard(flags, names))
        self._seen.clear()

    def _remember(self, step: int, names: Names, loss: Tensor, evidence: Tensor) -> None:
        if self._bad is None or self._evidence is None:
            self._bad, self._evidence = torch.full((), -1, device=loss.device), torch.zeros_like(evidence)
        new = (self._bad < 0) & ~torch.isfinite(loss.detach())
        self._bad = torch.where(new, self._watched, self._bad)
        self._evidence = torch.where(new, evidence, self._evidence)
        self._seen[self._watched] = (step, names)
        self._watched += 1


def gather_evidence(batch: Batch, inputs: Inputs, student: Predictions, terms: Mapping[str, Tensor]) -> Tensor:
    """What is not finite, bool: per clip its waveform, then each of what is heard of it; the logits, each term."""
    logits = [logit for logit in (student.strong_logits, student.weak_logits) if logit is not None]
    return torch.cat(
        [
            _bad_clips(batch.waveform),
            *(_bad_clips(values) for values in _heard(inputs).values()),
            torch.stack([~torch.isfinite(logit).all() for logit in logits]).any(dim=0, keepdim=True),
            *(~torch.isfinite(term).reshape(1) for term in terms.values()),
        ]
    )


def culprit_of(evidence: list[bool], names: Names, parameter: str | None) -> str:
    """The first thing that is not finite, and the remedy."""
    clips = len(names.clips)
    for number, sentence in enumerate((_WAVEFORM, *names.heard)):
        flags = evidence[number * clips : (number + 1) * clips]
        if any(flags):
            return sentence.format(names.clips[flags.index(True)])
    logits, *of_terms = evidence[(1 + len(names.heard)) * clips :]
    if logits:
        return f"the student's {parameter or 'logits'} {'is' if parameter else 'are'} not finite; {SLOWER}"
    bad = [term for term, is_bad in zip(names.terms, of_terms, strict=True) if is_bad]
    return f"{bad[0] if bad else 'the sum of the losses'} is not finite while the student's logits are; {SLOWER}"


def _heard(inputs: Inputs) -> dict[str, Tensor]:
    """All that the model hears, by what is said of a clip where it is not finite."""
    features = "are not finite while its waveform is; look at features and augmentations in the conf"
    embedding = "is not finite while its waveform is; look at the weights or the store of that embedder"
    own = {f"the features of {{}} for embedder {name} {features}": x for name, x in inputs.embedder_inputs.items()}
    embeddings = {f"the embedding {name} of {{}} {embedding}": of.values for name, of in inputs.embeddings.items()}
    return {f"the features of {{}} {features}": inputs.mel, **own, **embeddings}


def _clip_names(batch: Batch) -> tuple[str, ...]:
    return batch.audio_ids or tuple(f"clip {number} of the batch" for number in range(len(batch.waveform)))


def first_bad_name(model: nn.Module) -> str | None:
    """The first parameter or statistic of a model, by name, that is not finite."""
    values = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    if not values or bool(torch.stack([torch.isfinite(value).all() for value in values.values()]).all()):
        return None
    return next(name for name, value in values.items() if not torch.isfinite(value).all())


def require_finite_weights(models: Mapping[str, nn.Module], step: int) -> None:
    """DesedTaskError when weights are not finite after `step` steps: a checkpoint of them must replace no good one."""
    for name, model in models.items():
        bad = first_bad_name(model)
        if bad is not None:
            raise _diverged(max(0, step - 1), f"it left the {name}'s {bad} not finite; {SLOWER}")


def _bad_clips(values: Tensor) -> Tensor:
    return ~torch.isfinite(values).flatten(1).all(dim=1)


def _is_heard(evidence: list[bool], names: Names) -> bool:
    return any(evidence[: (1 + len(names.heard)) * len(names.clips)])


def _diverged(step: int, culprit: str, is_heard: bool = False) -> DivergedError:
    return DivergedError(f"training diverged at step {step}: {culprit}", is_heard)
