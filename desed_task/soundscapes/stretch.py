"""Time stretch and pitch shift: length without pitch, pitch without length.

Done by python-stretch (Signalsmith Stretch, a phase vocoder with blocks of about 0.12 s), which is not imported unless
something is stretched. Seeded, so the same samples give the same samples; the length is exact; an onset inside the
sound stays where it belongs to within some 5 ms.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from desed_task.audio.reading import Waveform
from desed_task.errors import OptionsError

_SEED = 0
_PACKAGE = "python_stretch"


def require_stretch() -> None:
    """OptionsError where the package that stretches is not installed."""
    if find_spec(_PACKAGE) is None:
        raise OptionsError(
            "time_stretch and pitch_semitones need the package python-stretch; "
            'install it with  pip install "desed-task[train]"'
        )


def stretch(
    waveform: Waveform, sample_rate: int, time_stretch: float, pitch_semitones: float, num_samples: int
) -> Waveform:
    """(samples,) -> (num_samples,): `time_stretch` times as long, `pitch_semitones` higher.

    The same samples when neither changes anything. OptionsError where the package is not installed.
    """
    if time_stretch == 1.0 and pitch_semitones == 0.0:
        return waveform
    require_stretch()
    from python_stretch import Signalsmith

    stretcher = Signalsmith.Stretch(_SEED)
    stretcher.preset(1, sample_rate)
    stretcher.setTimeFactor(1.0 / time_stretch)
    stretcher.setTransposeSemitones(pitch_semitones)
    # A copy: it takes no array that may not be written to.
    stretched = np.asarray(stretcher.process(np.array(waveform[None], dtype=np.float32)))[0]
    # Its own rounding may be a sample off ours.
    return np.pad(stretched, (0, max(0, num_samples - len(stretched))))[:num_samples].astype(np.float32, copy=False)
