"""Sound event detection: training, scoring, export and inference."""

import os

# onnxruntime's packages report to their maker, and keep an identifier of the machine in the home folder, unless this is
# set before they are imported (the package's Privacy.md). Recordings are their owners' business; 0 turns it on.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
