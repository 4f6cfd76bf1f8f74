"""Do the front-ends hear a real recording as the published code does?

    python benchmarks/frontend_parity.py --peer AudioTaggingDoneRight --json frontend_parity.json
    python benchmarks/frontend_parity.py --peer AudioTaggingDoneRight --efficientat EfficientAT --json F

--peer is a checkout of AudioTaggingDoneRight (commit 15af41d7c70a), whose `egs/audioset/--BfvyPmVMo.wav` (10 s, 16 kHz)
is heard. Figures that the published front-ends gave of it must come out to 1e-3. torchaudio, by which they are computed
there, must agree in every value above the floor: to 1e-4 by FFT; to 1e-3 in the exportable form, since float32 rounds a
band that lies 60 dB below its frame's loudest by as much in any form (torchaudio's own distance from its float64 is
printed). With --efficientat, a checkout of that (commit a425fdce9257), its own module hears its
`resources/metro_station-paris.wav` beside ours. Exits 1 when anything differs by more.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from machine import describe_machine
from torch import Tensor
from torchaudio.compliance.kaldi import fbank
from torchaudio.transforms import MelSpectrogram

from desed_task.audio.reading import read_waveform
from desed_task.command_line import RecipeParser, run_recipe, show
from desed_task.errors import DesedTaskError
from desed_task.features.efficientat import EfficientAT, EfficientATOptions
from desed_task.features.frontend import StagedFrontend
from desed_task.features.kaldi import Kaldi, KaldiOptions
from desed_task.features.panns import PANNs, PANNsOptions
from desed_task.features.tal import TAL, TALOptions

RECORDING = Path("egs/audioset/--BfvyPmVMo.wav")
STATION = Path("resources/metro_station-paris.wav")
FIGURE_TOLERANCE, VALUE_TOLERANCE, ROUNDING_TOLERANCE = 1e-3, 1e-4, 1e-3

# Of RECORDING, by the published code: kaldi fbank, AST's normalisation, PANNs at 16 kHz (torchlibrosa 0.1.0).
KALDI_FIGURES = {"mean": -3.11922, "std": 3.25742, "min": -15.94238, "max": 6.35806}
KALDI_FIRST_BANDS = (-10.7041, -15.1733, -11.7299, -15.9424, -9.0259)
AST_FIGURES = {"mean": 0.13435, "std": 0.35599}
PANNS_FIGURES = {"mean": -21.41214, "std": 13.24913, "max": 17.94921}


@dataclass(frozen=True)
class Row:
    """One comparison; `difference` may be at most `tolerance`."""

    name: str
    form: str
    ours: float
    published: float
    difference: float
    tolerance: float


def main(argv: Sequence[str]) -> int:
    """Compare, print, write; 1 unless everything agrees."""
    arguments = _parser().parse_args(argv)
    recording = _recording(arguments.peer / RECORDING, 16000)
    rows: list[Row] = []
    for form, exportable in (("FFT", False), ("exportable", True)):
        rows += compare_figures(recording, form, exportable)
        rows += compare_values(recording, form, exportable)
        if arguments.efficientat is not None:
            rows += compare_efficientat(arguments.efficientat, form, exportable)
    show(_table(rows))
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        machine = describe_machine()
        document = [{**asdict(row), "machine": machine} for row in rows]
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row.difference <= row.tolerance for row in rows) else 1


def compare_figures(recording: Tensor, form: str, exportable: bool) -> Iterator[Row]:
    """The published figures of the recording against those of our front-ends."""
    kaldi = _logarithm(Kaldi(KaldiOptions(), exportable), recording)
    yield from _figure_rows("kaldi", form, kaldi, KALDI_FIGURES)
    for band, published in enumerate(KALDI_FIRST_BANDS):
        ours = float(kaldi[0, 0, band])
        yield Row(f"kaldi, frame 0, band {band}", form, ours, published, abs(ours - published), FIGURE_TOLERANCE)
    heard = Kaldi(KaldiOptions(target_frames=1024), exportable)(recording)
    yield from _figure_rows("kaldi, as AST hears it", form, heard, AST_FIGURES)
    heard = PANNs(PANNsOptions(sample_rate=16000), exportable)(recording)
    yield from _figure_rows("panns, 16 kHz", form, heard, PANNS_FIGURES)


def compare_values(recording: Tensor, form: str, exportable: bool) -> Iterator[Row]:
    """Every value above the floor against torchaudio's."""
    tolerance = ROUNDING_TOLERANCE if exportable else VALUE_TOLERANCE
    for name, published, frontend, floor in (
        ("kaldi", torchaudio_kaldi, Kaldi(KaldiOptions(), exportable), -14.0),
        ("panns, 16 kHz", torchaudio_panns, PANNs(PANNsOptions(sample_rate=16000), exportable), -90.0),
        ("tal, dB", torchaudio_tal, TAL(TALOptions(target_frames=None, log_factor=10), exportable), -90.0),
    ):
        ours, theirs = _logarithm(frontend, recording), published(recording)
        yield _value_row(f"{name}, every value", form, ours, theirs, floor, tolerance)
        if not exportable:
            exact = published(recording.double())
            yield _value_row(f"{name}, torchaudio's rounding", "float64", exact, theirs, floor, ROUNDING_TOLERANCE)


def torchaudio_kaldi(recording: Tensor) -> Tensor:
    """PSLA's and AST's fbank: (1, mel_frames, mel_bands)."""
    level = recording - recording.mean()
    bands: Tensor = fbank(
        level, sample_frequency=16000, htk_compat=True, window_type="hanning", num_mel_bins=128, dither=0.0
    )
    return bands[None]


def torchaudio_panns(recording: Tensor) -> Tensor:
    """PANNs' bands in dB at 16 kHz."""
    transform = MelSpectrogram(
        16000, 512, hop_length=160, f_min=50.0, f_max=8000.0, n_mels=64, norm="slaney", mel_scale="slaney"
    )
    return _decibel(transform.to(recording.dtype)(recording))


def torchaudio_tal(recording: Tensor) -> Tensor:
    """AudioTaggingDoneRight's 64 bands in dB."""
    transform = MelSpectrogram(
        16000, 4096, 1024, 400, n_mels=64, norm="slaney", mel_scale="slaney", pad_mode="constant"
    )
    return _decibel(transform.to(recording.dtype)(recording - recording.mean()))


def compare_efficientat(root: Path, form: str, exportable: bool) -> Iterator[Row]:
    """EfficientAT's own module, in evaluation, against ours."""
    recording = _recording(root / STATION, 32000)
    published = _published_efficientat(root)(recording).transpose(1, 2)
    ours = EfficientAT(EfficientATOptions(), exportable)(recording)
    yield _value_row("efficientat, every value", form, ours, published, -9.0, VALUE_TOLERANCE)


def _published_efficientat(root: Path) -> Callable[[Tensor], Tensor]:
    path = root / "models" / "preprocess.py"
    specification = importlib.util.spec_from_file_location("published_preprocess", path)
    if specification is None or specification.loader is None or not path.is_file():
        raise DesedTaskError(f"{path}: not found; --efficientat names a checkout of EfficientAT")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    with contextlib.redirect_stdout(io.StringIO()):
        frontend: torch.nn.Module = module.AugmentMelSTFT().eval()
    # It asks torch.stft for real numbers in pairs, which torch has since ceased to give.
    return lambda waveform: _with_real_stft(frontend, waveform)


def _with_real_stft(frontend: torch.nn.Module, waveform: Tensor) -> Tensor:
    complex_stft = torch.stft

    def real_stft(*args: object, return_complex: bool = True, **settings: object) -> Tensor:
        del return_complex
        return torch.view_as_real(complex_stft(*args, return_complex=True, **settings))  # type: ignore[misc, arg-type]

    torch.stft = real_stft  # type: ignore[assignment]
    try:
        heard: Tensor = frontend(waveform)
        return heard
    finally:
        torch.stft = complex_stft


def _logarithm(frontend: StagedFrontend, recording: Tensor) -> Tensor:
    return frontend.compress(frontend.spectrum(recording))


def _decibel(mel: Tensor) -> Tensor:
    return 10.0 * torch.log10(mel.clamp(min=1e-10)).transpose(1, 2)


def _figure_rows(name: str, form: str, features: Tensor, published: dict[str, float]) -> Iterator[Row]:
    ours = {figure: float(getattr(features, figure)()) for figure in published}
    for figure, value in published.items():
        yield Row(f"{name}, {figure}", form, ours[figure], value, abs(ours[figure] - value), FIGURE_TOLERANCE)


def _value_row(name: str, form: str, ours: Tensor, published: Tensor, floor: float, tolerance: float) -> Row:
    """The largest difference where the published value is above `floor`; infinite when the shapes differ."""
    if ours.shape != published.shape:
        return Row(name, form, float("nan"), float("nan"), float("inf"), tolerance)
    difference = (ours - published).abs()
    difference[published <= floor] = 0.0
    worst = int(difference.argmax())
    values = float(ours.flatten()[worst]), float(published.flatten()[worst])
    return Row(name, form, *values, float(difference.max()), tolerance)


def _recording(path: Path, sample_rate: int) -> Tensor:
    if not path.is_file():
        raise DesedTaskError(f"{path}: not found; name a checkout that holds it")
    return torch.from_numpy(read_waveform(path, sample_rate))[None]


def _table(rows: Sequence[Row]) -> str:
    lines = [f"{'front-end, figure':<38}{'form':<12}{'ours':>11}{'published':>12}{'difference':>12}"]
    for row in rows:
        verdict = "" if row.difference <= row.tolerance else f"  MORE THAN {row.tolerance:g}"
        numbers = f"{row.ours:>11.5f}{row.published:>12.5f}{row.difference:>12.2g}"
        lines.append(f"{row.name:<38}{row.form:<12}{numbers}{verdict}")
    return "\n".join(lines)


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Compare the front-ends with published figures of a real recording.")
    parser.add_argument("--peer", type=Path, required=True, help="a checkout of AudioTaggingDoneRight")
    parser.add_argument("--efficientat", type=Path, help="a checkout of EfficientAT")
    parser.add_argument("--json", type=Path, help="file that receives the comparison")
    return parser


if __name__ == "__main__":
    run_recipe(main)
