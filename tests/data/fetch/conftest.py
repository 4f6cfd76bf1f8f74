"""A web server on the loopback, and programs that stand in for yt-dlp and ffmpeg."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from loopback_site import Site, serving

from desed_task.data.fetch.downloaders import YtDlp
from desed_task.data.fetch.retrying import RetryPolicy

STAND_INS = Path(__file__).parent / "stand_ins"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def site() -> Iterator[Site]:
    """A server that does what it is told, until the test ends."""
    with serving() as served:
        yield served


@pytest.fixture
def impatient() -> RetryPolicy:
    """Waits of milliseconds."""
    return RetryPolicy(4, first_wait=0.01, longest_wait=0.05, timeout=5.0, clip_attempts=3, clip_timeout=20.0)


@dataclass(frozen=True)
class Programs:
    """Executables `yt-dlp` and `ffmpeg` that follow a plan, and what was asked of the first."""

    folder: Path

    def plan(self, happens: Mapping[str, Sequence[str]]) -> None:
        """video id -> what happens at its first, second ... attempt."""
        (self.folder / "plan.json").write_text(json.dumps(happens), encoding="utf-8")

    def downloader(self, clip_timeout: float = 20.0) -> YtDlp:
        return YtDlp([str(self.folder / "yt-dlp")], str(self.folder / "ffmpeg"), clip_timeout)

    @property
    def calls(self) -> list[str]:
        """The video of each call, in order."""
        log = self.folder / "calls.log"
        return log.read_text(encoding="utf-8").split() if log.exists() else []

    def forget_calls(self) -> None:
        (self.folder / "calls.log").unlink(missing_ok=True)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Stand-ins under the names of the real ones; every video is good until there is a plan."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, source in (("yt-dlp", "yt_dlp_stand_in.py"), ("ffmpeg", "ffmpeg_stand_in.py")):
        text = (STAND_INS / source).read_text(encoding="utf-8")
        (folder / name).write_text(f"#!{sys.executable} -IS\n{text}", encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("YT_DLP_PLAN", str(folder))
    made = Programs(folder)
    made.plan({})
    return made
