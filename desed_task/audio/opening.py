"""Which decoder a recording gets, by its container and codec, after both were found on the lists.

WAV and AIFF are read by wav.py and aiff.py; FLAC, MP3, Vorbis by libsndfile, which is quicker than FFmpeg; MP4, WebM
and AAC by PyAV. So is, where PyAV is installed, Opus, of which it is the quicker decoder, and what libsndfile cannot
open or decodes in part only: MP3 that does not state its length, several recordings in one file.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from desed_task.audio.aiff import open_aiff
from desed_task.audio.containers import require_container, skip_id3
from desed_task.audio.decoder import Decoder, refuse_damaged
from desed_task.audio.libsndfile import SoundfileDecoder
from desed_task.audio.limits import DecodeLimits
from desed_task.audio.mp3 import states_its_length
from desed_task.audio.mp4 import survey_mp4
from desed_task.audio.ogg import require_ogg_codec, survey_ogg
from desed_task.audio.pyav import PyavDecoder, pyav_is_installed
from desed_task.audio.records import open_recording
from desed_task.audio.wav import open_wav
from desed_task.audio.webm import survey_webm
from desed_task.errors import AudioError, AudioFormatError

_OF_PYAV = ("MP4", "WEBM", "AAC")
_OF_EITHER = ("FLAC", "MP3", "OGG")


def open_decoder(stream: BinaryIO, limits: DecodeLimits, name: str) -> Decoder:
    """The decoder of a stream that can seek, its rate and channels within the limits.

    AudioFormatError for a container or codec that is not decoded, AudioError for what is empty or no recording. The
    stream stays open when the decoder is closed.
    """
    stream.seek(0)
    if not stream.read(1):
        raise AudioError(f"{name}: the file is empty (0 bytes)")
    container = require_container(stream, limits.containers, name)
    decoder = _decoder_of(stream, container, name)
    try:
        limits.require_rate(decoder.sample_rate, name)
        limits.require_channels(decoder.channels, name)
        if limits.strict:
            refuse_damaged(decoder, name)
    except AudioError:
        decoder.close()
        raise
    return decoder


def open_file(path: Path) -> BinaryIO:
    """The bytes of a recording, a file or a record of an LMDB. AudioError when they cannot be had."""
    if path.suffix.lower() == ".raw":
        raise AudioError(f"{path}: raw samples do not say their rate; convert it to WAV")
    if path.exists() and not path.is_file():
        raise AudioError(f"{path}: a folder or a device; name an audio file")
    try:
        return open_recording(path)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such audio file") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from None


def _decoder_of(stream: BinaryIO, container: str, name: str) -> Decoder:
    if container in ("WAV", "RF64"):
        return open_wav(stream, container, name)
    if container == "AIFF":
        return open_aiff(stream, container, name)
    if container in _OF_PYAV:
        survey = {"MP4": survey_mp4, "WEBM": survey_webm}.get(container)
        return PyavDecoder(stream, container, name, survey(stream, name) if survey is not None else None)
    if container == "OGG":
        return _ogg_decoder(stream, name)
    if container == "MP3" and pyav_is_installed() and not states_its_length(stream, skip_id3(stream)):
        return PyavDecoder(stream, container, name)
    return _opened_by_either(stream, container, name)


def _ogg_decoder(stream: BinaryIO, name: str) -> Decoder:
    codec = require_ogg_codec(stream, name)
    chained, damage = survey_ogg(stream)
    if (codec == "Opus" or chained) and pyav_is_installed():
        return PyavDecoder(stream, "OGG", name, damage)
    if chained and damage is None:
        damage = "holds several recordings one after another; decoding all needs the package av"
    return _opened_by_either(stream, "OGG", name, damage)


def _opened_by_either(stream: BinaryIO, container: str, name: str, damage: str | None = None) -> Decoder:
    """libsndfile's decoder; PyAV's where libsndfile does not open what is, by its first bytes, FLAC, MP3 or Ogg."""
    try:
        return SoundfileDecoder(stream, container, name, damage)
    except AudioFormatError:
        raise
    except AudioError:
        if container not in _OF_EITHER or not pyav_is_installed():
            raise
    return PyavDecoder(stream, container, name, damage)
