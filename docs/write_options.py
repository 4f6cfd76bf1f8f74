"""Write docs/options.md from the options classes (`make docs`).

python docs/write_options.py            write the page
python docs/write_options.py --check    exit 1 when the page is not what the code says
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).resolve().parent / "options.md"
sys.path.insert(0, str(PAGE.parent.parent))

from desed_task.experiment import SedOptions  # noqa: E402
from desed_task.options_page import Root, render_page  # noqa: E402
from desed_task.soundscapes.conf import SoundscapesOptions  # noqa: E402
from desed_task.tagging import TaggingOptions  # noqa: E402
from serving.settings import ServingOptions  # noqa: E402

INTRODUCTION = """\
Every key of every conf: what it does, its type and its default. Generated from the options classes by `make docs`;
edit the sentences there. A conf inherits another with `base:`, and `--set a.b=c` replaces one key of either; `[]` in a
heading is a position in a list (`--set data.train.0.batch_size=6`). Of several bases, `base: [a.yaml, b.yaml]`, the
later one has the word; a conf reaches into a list of its base by position: `train: {"0": {batch_size: 6}}`."""
ROOTS = (
    Root(
        "Detectors",
        "Confs in `confs/sed`, read by `recipes/train_sed.py`. What of these reproduces the published baselines is in "
        "[compatibility.md](compatibility.md).",
        SedOptions,
    ),
    Root(
        "Taggers",
        "Confs in `confs/tagging`, read by `recipes/train_tagging.py`. What published flags are called here is in "
        "[taggers.md](taggers.md).",
        TaggingOptions,
    ),
    Root("Soundscapes", "Confs in `confs/soundscapes`, read by `recipes/generate_soundscapes.py`.", SoundscapesOptions),
    Root("Service", "`confs/serving.yaml`, read by `python -m serving`.", ServingOptions),
)


def page() -> str:
    """The page as the code has it now."""
    return render_page("Options", INTRODUCTION, ROOTS)


def main(argv: Sequence[str]) -> int:
    """Write the page, or say that it is stale."""
    text = page()
    if "--check" in argv:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
