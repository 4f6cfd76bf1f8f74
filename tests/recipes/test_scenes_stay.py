"""Confs from before rate, names and container were options give what they gave: digests of 2 scenes each, made before.

Tables must be the same to the byte, samples to one step of PCM 16: transforms of another build may round another way.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes.generate_soundscapes import main

FEW = [*(f"--set=parts.{part}.num_scenes=1" for part in ("weak", "unlabeled", "validation", "test"))]
TABLES = {
    "demo": "56c992a3c34ce6bf151e290070b5478127606cd4225429aa551d220104d62bb9",
    "esc10": "6bc63980b41efe02bb78cf765c8a171d860ce6ea30a82988e1a9588f034f653b",
}
EVERY_20011TH_SAMPLE = {
    "demo": (53, 6, -5, 1701, 566, -185, -86, 48, 153, 60, -695, -842, -1218, 139, -145, -331),
    "esc10": (-207, -409, -18, 2339, -714, -2140, 364, 182, -72, 130, -45, 62, 8, 80, -42, -115),
}


@pytest.mark.parametrize("name", ["demo", "esc10"])
def test_older_confs_give_the_scenes_that_they_gave(
    request: pytest.FixtureRequest, project: Path, tmp_path: Path, name: str
) -> None:
    conf = project / "confs" / "soundscapes" / f"{name}.yaml"
    root = [] if name == "demo" else [f"--set=soundbank.root={request.getfixturevalue('shared_data') / 'esc10'}"]
    few = [*FEW, "--set=parts.train.num_scenes=2", "--num_jobs", "1", *root]
    main(["--conf_file", str(conf), "--output_dir", str(tmp_path / name), *few])
    folder = tmp_path / name / "train"
    tables = b"".join((folder / f"{table}.tsv").read_bytes() for table in ("durations", "sources", "soundscapes"))
    assert hashlib.sha256(tables).hexdigest() == TABLES[name]
    clips = [soundfile.read(folder / "audio" / f"train_{clip:05d}.wav", dtype="int16")[0] for clip in range(2)]
    sampled = np.concatenate(clips)[1000::20011].astype(int)
    assert np.abs(sampled - EVERY_20011TH_SAMPLE[name]).max() <= 1
