"""Who brings clips of videos: yt-dlp with ffmpeg, or the `desed` package. Both are optional and run as programs.

`YtDlp` fetches the best audio track whole and cuts it with ffmpeg, which decodes from its beginning (an hour takes
about 7 s) and is exact to the sample. Seeking first is quicker, but an m4a then began 11 ms early (ffmpeg 9.0).
yt-dlp's own `--download-sections` is not used: unless it encodes anew it begins at the last cue point of the container,
which YouTube places about every 10 s (yt-dlp issue 12408), and every label of the clip would be shifted.

`DesedPackage` lets the published package (1.3.8) do the same its own way, one interpreter per clip, since it works in
the current folder and removes things there.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from desed_task.data.fetch.processes import Processes
from desed_task.data.fetch.youtube import ClipDownloader, ClipFailureError, Failure, meaning_of
from desed_task.errors import FetchError

# The rate of the published recordings.
SAMPLE_RATE = 44_100
# Of the folders that a download works in, beside its target.
WORK_PREFIX = ".fetching_"
_REMEDY = "`pip install 'desed-task[fetch]'` brings it, `prepare_data.py --no_fetch` goes on with what is there"
# Prints why the clip did not come, if it did not.
_ASK_DESED = """
import sys
from pathlib import Path
from desed.download import download_audioset_files
name, folder = sys.argv[1:]
download_audioset_files([name], folder, n_jobs=1, chunk_size=1, missing_files_tsv="missing.tsv")
if Path("missing.tsv").is_file():
    sys.exit(Path("missing.tsv").read_text().splitlines()[-1])
"""


class YtDlp:
    """Clips by `yt-dlp` and `ffmpeg`; `yt_dlp`: the command, `further`: more of its flags, such as --cookies FILE."""

    def __init__(
        self, yt_dlp: Sequence[str], ffmpeg: str, clip_timeout: float = 600.0, further: Sequence[str] = ()
    ) -> None:
        self._yt_dlp, self._ffmpeg, self._timeout, self._further = list(yt_dlp), ffmpeg, clip_timeout, list(further)
        self._processes = Processes()

    def download(self, video_id: str, start: float, end: float, target: Path) -> None:
        """As `ClipDownloader.download`."""
        with tempfile.TemporaryDirectory(prefix=WORK_PREFIX, dir=target.parent) as folder:
            address = f"https://www.youtube.com/watch?v={video_id}"
            flags = ["--ignore-config", "--no-playlist", "--quiet", "--no-progress", "--no-mtime"]
            track = ["--format", "bestaudio/best", "--output", "track.%(ext)s"]
            self._run([*self._yt_dlp, *flags, *track, *self._further, "--", address], Path(folder))
            tracks = sorted(Path(folder).glob("track.*"))
            if not tracks:
                raise ClipFailureError("yt-dlp ended without an audio track")
            cut = ["-i", tracks[0].name, "-ss", f"{start:.3f}", "-t", f"{end - start:.3f}"]
            sound = ["-vn", "-ar", str(SAMPLE_RATE), "-c:a", "pcm_s16le", "-bitexact", "-f", "wav", "cut.wav"]
            self._run([self._ffmpeg, "-nostdin", "-loglevel", "error", "-y", *cut, *sound], Path(folder))
            _hand_over(Path(folder) / "cut.wav", target)

    def end_all(self) -> None:
        """As `ClipDownloader.end_all`."""
        self._processes.end_all()

    def _run(self, command: Sequence[str], folder: Path) -> None:
        ended = self._processes.run(command, self._timeout, folder)
        if ended.code != 0:
            raise ClipFailureError(_reason(ended.text) or f"{Path(command[0]).name} ended with code {ended.code}")


class DesedPackage:
    """Clips by the `desed` package in an interpreter of its own."""

    def __init__(self, clip_timeout: float = 600.0, python: str = sys.executable) -> None:
        self._timeout, self._python = clip_timeout, python
        self._processes = Processes()

    def download(self, video_id: str, start: float, end: float, target: Path) -> None:
        """As `ClipDownloader.download`."""
        with tempfile.TemporaryDirectory(prefix=WORK_PREFIX, dir=target.parent) as folder:
            name = f"Y{video_id}_{start:.3f}_{end:.3f}.wav"
            command = [self._python, "-c", _ASK_DESED, name, folder]
            ended = self._processes.run(command, self._timeout, Path(folder))
            if ended.code != 0:
                raise ClipFailureError(_reason(ended.text) or f"desed ended with code {ended.code}")
            _hand_over(Path(folder) / name, target)

    def end_all(self) -> None:
        """As `ClipDownloader.end_all`."""
        self._processes.end_all()


def find_downloader(clip_timeout: float = 600.0, further: Sequence[str] = ()) -> ClipDownloader:
    """yt-dlp where it is installed, else the `desed` package; FetchError with the command that installs one."""
    yt_dlp, ffmpeg = _find_yt_dlp(), find_ffmpeg()
    if yt_dlp is not None and ffmpeg is not None:
        return YtDlp(yt_dlp, ffmpeg, clip_timeout, further)
    if importlib.util.find_spec("desed") is not None:
        return DesedPackage(clip_timeout)
    missing = "yt-dlp" if yt_dlp is None else "ffmpeg"
    raise FetchError(f"clips of YouTube videos need {missing}, which is not installed: {_REMEDY}")


def find_ffmpeg() -> str | None:
    """The system's ffmpeg, else the one that the imageio-ffmpeg package carries."""
    found = shutil.which("ffmpeg")
    if found is not None or importlib.util.find_spec("imageio_ffmpeg") is None:
        return found
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def _find_yt_dlp() -> list[str] | None:
    if importlib.util.find_spec("yt_dlp") is not None:
        return [sys.executable, "-m", "yt_dlp"]
    found = shutil.which("yt-dlp")
    return [found] if found is not None else None


def _hand_over(found: Path, target: Path) -> None:
    if not found.is_file():
        raise ClipFailureError("ended without a recording")
    found.replace(target)


def _reason(text: str) -> str:
    """The line that says why: of too many requests if one does, since other errors follow from that; else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    throttled = [line for line in lines if meaning_of(line) is Failure.THROTTLED]
    errors = [line for line in lines if "error" in line.lower()]
    return (throttled or errors or lines or [""])[-1]
