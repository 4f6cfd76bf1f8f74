"""How a tagger hears recordings longer than its training clips, when its conf says nothing of it."""

from __future__ import annotations

import numpy as np
from tagger_checkpoints import tagger_options

from desed_task.tagging import build_view


def test_a_recording_a_little_longer_than_a_window_is_heard_in_full_windows_of_sound() -> None:
    # seconds    0         1         2
    # recording  |-----------|              1.1 s of sound
    # windows    |---------|
    #              |---------|              not .1 s of sound and .9 s of silence
    view = build_view(tagger_options("resnet", {"view": {}}))
    windows = view.cut(np.ones(24_255, dtype=np.float32))
    assert view.starts(24_255).tolist() == [0, 2_205]
    assert windows.min() == 1.0
