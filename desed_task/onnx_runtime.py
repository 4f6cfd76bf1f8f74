"""onnxruntime, for everything that needs it: it must not report to its maker.

Its packages send events home, and keep an identifier of the machine in the home folder, unless a variable says
otherwise before they are imported (the package's Privacy.md). Recordings are their owners' business;
`ORT_DISABLE_TELEMETRY=0` turns the reports on.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
