"""What a training starts from: weights of a published tagger, or of a training of ours.

    report = load_initial(model, path, features)

Strict: every weight of the model must stand in the file with its shape, and nothing may be left over, but for what the
family is known to carry along (published/tagger_families.py) and the head, `model.HEAD`: where the file has none, one
for another number of classes or one of another kind, the whole head stays as initialised. The report says what did not
load. Counters of batch norms, which old files lack, stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from desed_task.errors import CheckpointError
from desed_task.features.frontend import FrontendOptions
from desed_task.published.hugging_face import is_hugging_face, read_hugging_face
from desed_task.published.panns_frontend import check_frontend
from desed_task.published.tagger_families import Family, Translation, family_of, same_family, shapes_of
from desed_task.published.tagger_files import read_tagger_weights

_COUNTER = ".num_batches_tracked"
_NAMED = 6


@dataclass(frozen=True)
class InitialWeights:
    """What came of loading initial weights; str() says it in one line.

    loaded: number of tensors; head: names of the head that stayed as initialised; left_out: names in the file that
    nothing uses; notes: what was changed or found, in words.
    """

    path: Path
    family: str
    loaded: int
    head: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        kind = "" if self.family == "another" else f" of {self.family}"
        parts = [f"{self.path}: {self.loaded} tensors{kind} loaded"]
        if self.head:
            parts.append(f"the head stays as initialised ({_first_few(self.head)})")
        if self.left_out:
            parts.append(f"left out, since nothing uses them: {_first_few(self.left_out)}")
        return "; ".join([*parts, *self.notes])


def initialise(model: nn.Module, features: FrontendOptions | None = None) -> InitialWeights | None:
    """Load what the model's options name to start from: a file (`weights`), ImageNet's weights, or nothing.

    For a training that begins; a model that is read back from a checkpoint needs none of it. CheckpointError or
    FetchError when the weights do not fit or cannot be had.
    """
    path = getattr(model.options, "weights", None)
    if path is not None:
        return load_initial(model, path, features)
    load_pretrained = getattr(model, "load_pretrained", None)
    if callable(load_pretrained):
        load_pretrained()
    return None


def load_initial(model: nn.Module, path: Path, features: FrontendOptions | None = None) -> InitialWeights:
    """Load the weights in the file `path` into `model`, which has a HEAD, and report.

    path: also a folder of Hugging Face or a hub id (hugging_face.py). features: the conf's front-end, with which that
    of a PANNs checkpoint is compared. CheckpointError, with the model untouched, when the file cannot be read or does
    not fit.
    """
    hugging_face = is_hugging_face(path)
    weights = read_hugging_face(path, model, features) if hugging_face else read_tagger_weights(path)
    mine = model.state_dict()
    family, own = family_of(weights), family_of(mine)
    if not same_family(family, own):
        raise CheckpointError(
            f"{path}: holds weights of {_in_words(family.name)}, the conf's model is {_in_words(own.name)}; choose the "
            f"model they are of"
        )
    heard = check_frontend(weights, path, features) if family.name == "PANNs" else None
    translated = _translate(family, weights, model, path)
    head = _Head(getattr(model, "HEAD", ()), mine, translated.weights)
    _require_fit(translated.weights, mine, head, path)
    loaded = {name: values for name, values in translated.weights.items() if not head.stays(name)}
    model.load_state_dict(loaded, strict=False)
    left_out = (*translated.left_out, *(name for name in translated.weights if head.stays(name)))
    notes = (*translated.changes, *((heard,) if heard else ()))
    return InitialWeights(path, family.name, len(loaded), head.staying, left_out, notes)


def _translate(family: Family, weights: dict[str, Tensor], model: nn.Module, path: Path) -> Translation:
    try:
        return family.translate(weights, model, path)
    except (RuntimeError, IndexError) as error:  # parts whose shapes do not go together
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path}: not weights of {family.name} as published ({reason}); fetch it again") from None


class _Head:
    """The part of a model that depends on the number of classes, and whether it stays as initialised."""

    def __init__(self, beginnings: tuple[str, ...], mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
        self.beginnings = beginnings
        ours, found = ({n: v.shape for n, v in side.items() if self._holds(n)} for side in (mine, theirs))
        # Of one kind: the same names and the same shapes behind the class axis.
        same_kind = ours.keys() == found.keys() and all(ours[n][1:] == found[n][1:] for n in ours)
        other_kind = not ours.keys() & found.keys()
        same_classes = ours == found
        self.staying = tuple(ours) if other_kind or (same_kind and not same_classes) else ()

    def _holds(self, name: str) -> bool:
        return name.startswith(self.beginnings) and not name.endswith(_COUNTER)

    def stays(self, name: str) -> bool:
        """Whether a name, of the model or of the file, is of a head that is not loaded."""
        return bool(self.staying) and name.startswith(self.beginnings)


def _require_fit(theirs: Mapping[str, Tensor], mine: Mapping[str, Tensor], head: _Head, path: Path) -> None:
    """CheckpointError that says what is missing, left over or of another shape."""
    ours, found = ({n: s for n, s in shapes_of(side).items() if not head.stays(n)} for side in (mine, theirs))
    missing = [name for name in ours if name not in found and not name.endswith(_COUNTER)]
    strange = [name for name in found if name not in ours]
    other = [f"{n} {found[n]} for {ours[n]}" for n in ours if n in found and found[n] != ours[n]]
    kinds = (("missing", missing), ("of no use here", strange), ("of another shape", other))
    faults = [f"{kind}: {_first_few(names)}" for kind, names in kinds if names]
    if faults:
        raise CheckpointError(f"{path}: the weights do not fit the conf's model; {'; '.join(faults)}")


def _in_words(family: str) -> str:
    return "no published tagger" if family == "another" else family


def _first_few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
