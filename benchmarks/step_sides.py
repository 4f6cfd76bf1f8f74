"""The sides of training_step.py, each in a process of its own, which makes one step whenever it is told to.

    python -m benchmarks.step_sides SIDE SIZE [CHECKOUT]

One line of standard input is one step; one line of output says in JSON how many seconds it took, and of a side in
pieces how many each piece. A process has its own allocator settings, as its users would.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from benchmarks.plain_step import PlainStep
from desed_task.augment.mixup import Mixup, MixupOptions
from desed_task.batch import Batch, Inputs, Predictions, Targets
from desed_task.embeddings.ears import Ears
from desed_task.features.logmel import LogMel, LogMelOptions
from desed_task.models.crnn import CRNN, CRNNOptions
from desed_task.models.tagger import InputShape
from desed_task.training.allocator import keep_freed_memory
from desed_task.training.sed_module import SedModule
from desed_task.training.step import Losses, call_plainly, compute_losses, prepare
from desed_task.training.training_options import TrainingOptions

THREADS, CLASSES, N_MELS, SAMPLE_RATE = 2, 10, 128, 16_000
# Strong, weak and unlabeled clips, and their seconds.
SIZES = {"full": ((12, 12, 24), 10.0), "small": ((1, 1, 2), 2.0)}
# Options of ours by side.
OURS: dict[str, dict[str, Any]] = {
    "ours": {},
    "bf16": {"precision": "bf16-mixed"},
    "compiled": {"compile": "default"},
}
ROOT = Path(__file__).resolve().parent.parent
RECIPE = "recipes/dcase2023_task4_baseline"
Step = Callable[[], dict[str, float]]


class _Alone(SedModule):
    """A module without a trainer, which counts its steps itself."""

    steps = 0

    @property
    def global_step(self) -> int:
        return self.steps

    def log(self, *_: Any, **__: Any) -> None:
        """Nowhere."""


def open_side(side: str, size: str, checkout: Path | None) -> Step:
    """What makes one step of a side and gives the seconds of its pieces, if it has any."""
    batch = _draw_batch(size)
    if side in OURS:
        return _open_ours(batch, OURS[side])
    if side == "pieces":
        return _open_pieces(batch)
    if side == "plain":
        plain = PlainStep(CRNNOptions(), N_MELS, CLASSES)
        return lambda: plain.make(batch)
    if side.endswith("keeping memory"):
        keep_freed_memory()
    assert checkout is not None
    return _open_published(batch, checkout, SIZES[size][0])


def _draw_batch(size: str) -> Batch:
    counts, seconds = SIZES[size]
    torch.manual_seed(0)
    num_clips, frames = sum(counts), int(seconds * SAMPLE_RATE) // 256 // 4
    kind = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    strong, weak = torch.rand(num_clips, frames, CLASSES) > 0.9, torch.rand(num_clips, CLASSES) > 0.8
    targets = Targets(strong.float(), weak.float(), kind == 0, kind == 1)
    return Batch(0.1 * torch.randn(num_clips, int(seconds * SAMPLE_RATE)), targets, ())


def _build_module(options: TrainingOptions) -> _Alone:
    keep_freed_memory()
    student, mixup = CRNN(CRNNOptions(), InputShape(626, N_MELS), CLASSES), Mixup(MixupOptions())
    module = _Alone(student, Ears(LogMel(LogMelOptions())), options, (mixup,), 1000, lambda _: {}, {})
    return module.to(memory_format=torch.channels_last).train()


def _open_ours(batch: Batch, options: dict[str, Any]) -> Step:
    module = _build_module(TrainingOptions(**options))
    configured = module.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]

    def step() -> dict[str, float]:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=module.options.precision == "bf16-mixed"):
            loss = module.training_step(batch, module.steps)
        loss.backward()
        optimizer.step()
        scheduler.step()
        module.steps += 1
        module.on_train_batch_end(None, batch, module.steps)
        return {}

    return step


def _open_pieces(batch: Batch) -> Step:
    """Our step, with a look at the clock between its pieces; mixup is drawn in every other step."""
    module = _build_module(TrainingOptions())
    optimizer = module.configure_optimizers()["optimizer"]

    def step() -> dict[str, float]:
        pieces: dict[str, float] = {}

        def timed(name: str, start: float) -> float:
            pieces[name] = time.perf_counter() - start - sum(pieces.get(inner, 0.0) for inner in _INNER.get(name, ()))
            return time.perf_counter()

        def call(model: torch.nn.Module, inputs: Inputs) -> Predictions:
            start = time.perf_counter()
            predictions = call_plainly(model, inputs)
            timed("student forward" if model is module.sed_student else "teacher forward", start)
            return predictions

        start = time.perf_counter()
        inputs, targets = prepare(batch, module.ears, module.augmentations, np.random.default_rng(module.steps))
        start = timed("mel and mixup", start)
        losses: Losses = compute_losses(
            module.sed_student, module.sed_teacher, inputs, targets, module.options, 1.0, call=call
        )
        start = timed("losses", start)
        optimizer.zero_grad()
        losses.total.backward()
        start = timed("backward", start)
        optimizer.step()
        start = timed("optimiser", start)
        module.steps += 1
        module.on_train_batch_end(None, batch, module.steps)
        timed("teacher follows", start)
        return pieces

    return step


_INNER = {"losses": ("student forward", "teacher forward")}


def _open_published(batch: Batch, checkout: Path, counts: tuple[int, ...]) -> Step:
    """The published LightningModule's own step, as its trainer would drive it."""
    thop: Any = ModuleType("thop")  # counts operations, once, before the training
    thop.clever_format = thop.profile = None
    sys.modules["thop"] = thop
    for name in [name for name in sys.modules if name.split(".")[0] == "desed_task"]:
        del sys.modules[name]  # the published package has the name of ours
    elsewhere = [entry for entry in sys.path if entry and Path(entry).resolve() != ROOT]
    sys.path[:] = [str(checkout), str(checkout / RECIPE), *elsewhere]
    published = importlib.import_module
    network_class = published("desed_task.nnet.CRNN").CRNN
    warm_up = published("desed_task.utils.schedulers").ExponentialWarmup
    module_class = published("local.sed_trainer").SEDTask4
    conf = yaml.safe_load((checkout / RECIPE / "confs/default.yaml").read_text(encoding="utf-8"))
    conf["training"]["batch_size"] = list(counts)
    network = network_class(**conf["net"])
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, betas=(0.9, 0.999))
    scheduler = {"scheduler": warm_up(optimizer, 1e-3, 5900), "interval": "step"}
    encoder: Any = ModuleType("encoder")
    encoder.labels = list(range(CLASSES))
    module = module_class(conf, encoder=encoder, sed_student=network, opt=optimizer, scheduler=scheduler)
    module.log = lambda *_, **__: None
    labels: Tensor = batch.targets.strong.transpose(1, 2).contiguous()

    def step() -> dict[str, float]:
        loss = module.training_step((batch.waveform, labels.clone(), None, None), 0)
        module.on_before_zero_grad()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler["scheduler"].step()
        return {}

    return step


def main() -> None:
    """Make a step per line of standard input."""
    torch.set_num_threads(THREADS)
    answers, sys.stdout = sys.stdout, sys.stderr  # what the published code prints is no answer
    step = open_side(sys.argv[1], sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    for _ in sys.stdin:
        start = time.perf_counter()
        pieces = step()
        print(json.dumps({"seconds": time.perf_counter() - start, "pieces": pieces}), file=answers, flush=True)


if __name__ == "__main__":
    main()
