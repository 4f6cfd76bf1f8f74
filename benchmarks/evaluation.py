"""How fast is the evaluator, and in how little memory? Beside sed_scores_eval and psds_eval, and against limits.

    python benchmarks/evaluation.py --data REFERENCE --json docs/results/evaluation.json [--peer_python PATH]

Rows (--only NAME for one of them):

    psds              PSDS1 + PSDS2 + best collar F1 + best segment F1 of 1168 clips x 156 frames x 10 classes
    operating points  PSDS1 + PSDS2 of a published system's 50 operating points (--data), against psds_eval
    bootstrap         1,000 paired samples of PSDS1 + PSDS2 + collar F1 of two systems
    audioset strong   PSDS1 + PSDS2 of 17,000 clips x 250 frames x 447 classes that a generator yields clip by clip
    one hour          PSDS1 + PSDS2 of one recording of 90,000 frames

One thread where nothing else is said, both sides in turn, medians, compiling excluded, values compared. This file only
starts the work in a process of its own whose linear algebra keeps to one thread.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


def main() -> int:
    """The exit code of the work."""
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "benchmarks.evaluation_table", *sys.argv[1:]]
    return subprocess.run(command, env=os.environ | ONE_THREAD | {"PYTHONPATH": paths}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
