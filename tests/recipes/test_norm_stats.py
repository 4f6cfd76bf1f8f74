"""The two numbers of a conf's features, against those of all its clips at once."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from desed_task.audio.reading import read_waveform, write_waveform
from desed_task.errors import CorpusError
from desed_task.features.kaldi import Kaldi, KaldiOptions
from recipes.norm_stats import main

CLIPS = 6


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """Six clips of noise, each louder than the one before, in batches of two."""
    rng = np.random.default_rng(0)
    for number in range(CLIPS):
        noise = 0.002 * 2**number * rng.uniform(-0.5, 0.5, 16_000)
        write_waveform(tmp_path / f"{number}.wav", noise.astype(np.float32), 16_000)
    rows = "".join(f"{number}.wav,{('hum', 'hiss')[number % 2]}\n" for number in range(CLIPS))
    (tmp_path / "clips.csv").write_text(f"filename,labels\n{rows}", encoding="utf-8")
    corpus = {"name": "manifest", "table": str(tmp_path / "clips.csv")}
    tree = {
        "labels": ["hum", "hiss"],
        "features": {"name": "kaldi", "n_mels": 16},
        "model": {"name": "crnn", "nb_filters": [2], "pooling": [[2, 4]], "n_rnn_cell": 2},
        "augmentations": [{"name": "spec_augment", "max_bands": 8, "max_frames": 0}],
        "data": {
            "store": str(tmp_path / "store"),
            "clip_seconds": 1.0,
            "train": [{"corpus": corpus, "batch_size": 2, "sampling": {"name": "weighted"}}],
            "validation": corpus,
        },
    }
    path = tmp_path / "conf.yaml"
    path.write_text(yaml.dump(tree), encoding="utf-8")
    return path


def printed(capsys: pytest.CaptureFixture[str]) -> tuple[int, float, float]:
    """Values, mean, deviation."""
    text = capsys.readouterr().out
    found = re.search(r"(\d+) values.*\n.*\nfeatures:\n  name: kaldi\n  mean: (\S+)\n  std: (\S+)\n", text)
    assert found is not None, text
    return int(found[1]), float(found[2]), float(found[3])


def test_every_clip_is_heard_once(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--conf_file", str(conf), "--without_augmentations", "--device", "cpu"]) == 0
    waveforms = np.stack([read_waveform(conf.parent / f"{number}.wav", 16_000) for number in range(CLIPS)])
    frontend = Kaldi(KaldiOptions(n_mels=16))
    features = frontend.compress(frontend.spectrum(torch.from_numpy(waveforms)))
    # Stored clips have 16 bits
    count, mean, std = printed(capsys)
    assert count == features.numel() == CLIPS * 98 * 16
    assert mean == pytest.approx(float(features.mean()), abs=1e-3)
    assert std == pytest.approx(float(features.std()), abs=1e-3)


def test_augmentations_count_unless_they_are_left_out(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    means = []
    for flags in (["--without_augmentations"], [], []):
        main(["--conf_file", str(conf), "--device", "cpu", *flags])
        means.append(printed(capsys)[1])
    # Masks are 0, which is far above the logarithm of what is so quiet
    assert means[0] < means[1] - 0.1
    assert means[1] == means[2]


def test_a_few_batches_and_the_sampling_of_the_training(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--conf_file", str(conf), "--device", "cpu", "--without_augmentations"]
    main([*flags, "--batches", "1"])
    assert printed(capsys)[0] == 2 * 98 * 16
    main(flags)
    once = printed(capsys)
    main([*flags, "--as_sampled"])
    again = printed(capsys)
    assert again[0] == once[0]
    assert again[1] != once[1]


def test_a_front_end_without_the_two_numbers(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--conf_file", str(conf), "--device", "cpu", "--set", "features={name: logmel, n_mels: 16}"])
    assert "logmel are normalised without them" in capsys.readouterr().out


def test_too_few_clips_are_refused(conf: Path) -> None:
    with pytest.raises(CorpusError, match="lower its batch_size"):
        main(["--conf_file", str(conf), "--device", "cpu", "--set", "data.train.0.batch_size=7"])
