"""A training whose numbers stop being finite ends at that very step and names the first thing that is not finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from desed_task.batch import Batch, Embedding, Inputs, Predictions
from desed_task.data.dataset import BatchDataset
from desed_task.errors import DesedTaskError
from desed_task.training.checkpointing import progress_of, read_checkpoint
from desed_task.training.divergence import DivergenceWatch
from desed_task.training.fit import fit
from desed_task.training.sed_module import SedModule

MakeModule = Callable[..., SedModule]
CPU = torch.device("cpu")
NAN, INF = float("nan"), float("inf")


def watch(
    watcher: DivergenceWatch, batch: Batch, step: int = 0, mel: float = 0.0, logits: float = 0.0, term: float = 0.0
) -> None:
    """One step whose third clip has `mel` in its features and `logits` in its logits, and one term of the loss."""
    inputs, strong = Inputs(torch.zeros(4, 5, 8)), torch.zeros(4, 3, 2)
    inputs.mel[2, 1, 1], strong[2, 0, 1] = mel, logits
    bad = batch.waveform.sum() * 0 + mel + logits + term
    watcher.watch(
        step,
        batch,
        inputs,
        Predictions(strong, torch.zeros(4, 2)),
        loss=bad,
        terms={"loss_strong": torch.zeros(()), "consistency": torch.tensor(term)},
        model=torch.nn.Linear(1, 1),
    )


def with_bad_waveform(batch: Batch) -> Batch:
    waveform = batch.waveform.clone()
    waveform[1, 100] = NAN
    return replace(batch, waveform=waveform)


def test_numbers_that_are_finite_pass(batch: Batch) -> None:
    watch(DivergenceWatch(), batch)


def test_the_waveform_is_asked_first_and_its_clip_named(batch: Batch) -> None:
    with pytest.raises(DesedTaskError, match="diverged at step 7: the waveform of b is not finite; leave the clip out"):
        watch(DivergenceWatch(), with_bad_waveform(batch), step=7, mel=NAN, logits=NAN, term=NAN)


def test_then_the_features(batch: Batch) -> None:
    with pytest.raises(DesedTaskError, match="the features of c are not finite while its waveform is; look at"):
        watch(DivergenceWatch(), batch, mel=INF, logits=NAN, term=NAN)


def watch_heard(watcher: DivergenceWatch, batch: Batch, heard: Inputs, step: int = 3) -> None:
    """One step whose logits follow what is heard."""
    parts = [heard.mel, *heard.embedder_inputs.values(), *(one.values for one in heard.embeddings.values())]
    strong = torch.stack([part.flatten(1).sum(dim=1) for part in parts]).sum(dim=0)[:, None, None].expand(-1, 3, 2)
    student = Predictions(strong, strong.mean(dim=1))
    watcher.watch(step, batch, heard, student, strong.sum(), {}, torch.nn.Linear(1, 1))


def listening(mel: float = 0.0, own: float = 0.0, one: float = 0.0, two: float = 0.0) -> Inputs:
    """Features, what embedder `l` hears itself, and two embeddings, each with a number in the clip of its place."""
    heard = [torch.zeros(4, 5, 8) for _ in range(4)]
    for clip, value in enumerate((mel, own, one, two)):
        heard[clip][clip, 1, 1] = value
    embeddings = {"one": Embedding(heard[2], is_timed=True), "two": Embedding(heard[3], is_timed=False)}
    return Inputs(heard[0], embeddings, {"l": heard[1]})


@pytest.mark.parametrize("look_every", [None, 2])
@pytest.mark.parametrize(
    ("heard", "culprit"),
    [
        ({"mel": NAN, "own": NAN, "one": NAN}, "the features of a are not finite while its waveform is; look at feat"),
        (
            {"own": NAN, "one": NAN},
            "the features of b for embedder l are not finite while its waveform is; look at feat",
        ),
        (
            {"one": INF, "two": NAN},
            "the embedding one of c is not finite while its waveform is; look at the weights or",
        ),
        ({"two": NAN}, "the embedding two of d is not finite while its waveform is; look at the weights or the store"),
    ],
)
def test_then_what_embedders_hear_and_say(
    batch: Batch, look_every: int | None, heard: dict[str, float], culprit: str
) -> None:
    watcher = DivergenceWatch(look_every)
    with pytest.raises(DesedTaskError, match=f"training diverged at step 3: {culprit}"):
        for _ in range(2):
            watch_heard(watcher, batch, listening(**heard))


def test_embeddings_that_are_finite_pass(batch: Batch) -> None:
    watch_heard(DivergenceWatch(), batch, listening())


def test_then_the_logits(batch: Batch) -> None:
    with pytest.raises(DesedTaskError, match=r"the student's logits are not finite; lower training.learning_rate"):
        watch(DivergenceWatch(), batch, logits=INF, term=NAN)


def test_then_the_terms_of_the_loss(batch: Batch) -> None:
    with pytest.raises(DesedTaskError, match="consistency is not finite while the student's logits are; lower"):
        watch(DivergenceWatch(), batch, term=NAN)


def test_asked_now_and_then_it_is_the_first_bad_step_that_is_named(batch: Batch) -> None:
    watcher = DivergenceWatch(look_every=10)
    for step in range(9):
        culprit = with_bad_waveform(batch) if step == 4 else batch
        watch(watcher, culprit, step, term=NAN if step > 4 else 0.0)
    with pytest.raises(DesedTaskError, match="diverged at step 4: the waveform of b is not finite"):
        watch(watcher, batch, 9)


def test_asked_now_and_then_a_sound_training_goes_on(batch: Batch) -> None:
    watcher = DivergenceWatch(look_every=2)
    for step in range(5):
        watch(watcher, batch, step)
    watcher.look()


def test_of_accumulated_batches_the_bad_one_is_named(batch: Batch) -> None:
    """Ten batches make a step, so two hundred and more lie between two looks."""
    watcher = DivergenceWatch(look_every=40)
    other = replace(batch, audio_ids=("e", "f", "g", "h"))
    with pytest.raises(DesedTaskError, match="diverged at step 1: the waveform of f is not finite"):
        for number in range(400):
            watch(watcher, with_bad_waveform(other) if number == 13 else batch, number // 10)


def run(module: SedModule, dataset: BatchDataset, folder: Path) -> None:
    folder.mkdir()
    fit(module, dataset, folder, CPU, False)


def test_a_parameter_is_named_and_the_checkpoint_before_stands(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path
) -> None:
    module = make_module(n_epochs=3, checkpoint_minutes=1e-9)
    original = module.training_step

    def step(batch: Batch, batch_idx: int) -> torch.Tensor:
        if module.global_step == 8:
            with torch.no_grad():
                module.sed_student.state_dict()["dense.bias"].fill_(NAN)
        return original(batch, batch_idx)

    module.training_step = step  # type: ignore[method-assign]
    with pytest.raises(DesedTaskError, match=r"diverged at step 8: the student's dense.bias is not finite; lower"):
        run(module, dataset, tmp_path / "run")
    checkpoint = read_checkpoint(tmp_path / "run" / "last.ckpt")
    assert progress_of(checkpoint, tmp_path).step == 3
    assert all(torch.isfinite(value).all() for value in checkpoint["sed_student"].values())


def test_weights_that_a_step_lost_replace_no_checkpoint(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path
) -> None:
    module = make_module(n_epochs=2, checkpoint_minutes=1e-9)
    original = module.on_train_batch_end

    def lose(outputs: Any, batch: Any, batch_idx: int) -> None:
        original(outputs, batch, batch_idx)
        if module.global_step == 4:
            with torch.no_grad():
                module.sed_student.state_dict()["dense.bias"].fill_(INF)

    module.on_train_batch_end = lose  # type: ignore[method-assign]
    with pytest.raises(DesedTaskError, match=r"diverged at step 3: it left the student's dense.bias not finite; lower"):
        run(module, dataset, tmp_path / "run")
    assert progress_of(read_checkpoint(tmp_path / "run" / "last.ckpt"), tmp_path).step == 3


def test_a_clip_that_is_not_finite_is_named(make_module: MakeModule, dataset: BatchDataset, tmp_path: Path) -> None:
    store = dataset.sources[0].store
    samples = store.samples

    def spoilt(clip: int, first_sample: int, num_samples: int) -> object:
        waveform = samples(clip, first_sample, num_samples)
        return waveform * NAN if clip == 6 else waveform

    store.samples = spoilt  # type: ignore[method-assign,assignment]
    with pytest.raises(DesedTaskError, match="the waveform of clip6 is not finite"):
        run(make_module(), dataset, tmp_path / "run")
