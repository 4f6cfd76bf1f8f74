"""Recordings whose headers lie: of lengths, rates, channels, sizes, checksums and clocks."""

from __future__ import annotations

import struct

from benchmarks.hostile.bombs import flac_stream_info
from benchmarks.hostile.checksums import checksum
from benchmarks.hostile.chunk_layout import ogg_pages
from benchmarks.hostile.whole_files import encode, sweep, video_only, whole_files

# Offsets in a plain PCM WAV and in the STREAMINFO block of a FLAC.
_RIFF_SIZE, _FORMAT, _CHANNELS, _RATE, _ALIGN, _BITS, _DATA_SIZE = 4, 20, 22, 24, 32, 34, 40
_UNKNOWN_SIZES = (0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF)


def lies() -> dict[str, bytes]:
    """All of them by name."""
    return _of_wav() | _of_aiff() | _of_flac() | _of_ogg() | _of_mp3() | _of_mp4() | _of_webm()


def _of_wav() -> dict[str, bytes]:
    wav = whole_files()["wav pcm16"]
    found = {f"wav, data of {size:#x} bytes": patched(wav, _DATA_SIZE, "<I", size) for size in _UNKNOWN_SIZES}
    found |= {f"wav, riff of {size:#x} bytes": patched(wav, _RIFF_SIZE, "<I", size) for size in (0, 0xFFFFFFFF)}
    both = patched(patched(wav, _RIFF_SIZE, "<I", 0xFFFFFFFF), _DATA_SIZE, "<I", 0xFFFFFFFF)
    found |= {
        "wav, sizes of a stream": both,
        "wav, data of 1.6 GB": patched(wav, _DATA_SIZE, "<I", 1_600_000_000),
        "wav, odd number of bytes": patched(wav, _DATA_SIZE, "<I", 31_999),
    }
    for rate in (0, 1, 999, 4_000_000, 2**31 - 1, 2**32 - 1):
        found[f"wav at {rate} Hz"] = patched(wav, _RATE, "<I", rate)
    for channels in (0, 2, 255, 1024, 65_535):
        found[f"wav of {channels} channels"] = patched(wav, _CHANNELS, "<H", channels)
        aligned = patched(found[f"wav of {channels} channels"], _ALIGN, "<H", 2 * channels & 0xFFFF)
        found[f"wav of {channels} channels, aligned"] = aligned
    for bits in (0, 1, 7, 12, 64, 65_535):
        found[f"wav of {bits} bits"] = patched(wav, _BITS, "<H", bits)
    for name, tag in (("none", 0), ("ms adpcm", 2), ("float", 3), ("gsm", 49), ("mp3", 85), ("any", 0xFFFE)):
        found[f"wav, format {name}"] = patched(wav, _FORMAT, "<H", tag)
    found["wav, format chunk of 4 GB"] = patched(wav, 16, "<I", 0xFFFFFFFF)
    found["wav, format chunk of 0 bytes"] = patched(wav, 16, "<I", 0)
    found["wav, block of 0 bytes"] = patched(wav, _ALIGN, "<H", 0)
    found["wav, a thousand empty chunks"] = wav[:12] + b"junk\x00\x00\x00\x00" * 1_000 + wav[12:]
    found["wav, data before format"] = wav[:12] + wav[36:] + wav[12:36]
    found["wav, two formats"] = wav[:12] + wav[12:36] + patched(wav, _CHANNELS, "<H", 64)[12:36] + wav[36:]
    found["wav, two data"] = wav + wav[36:]
    found["wav within wav"] = wav[:40] + struct.pack("<I", len(wav)) + wav
    rf64 = whole_files()["rf64 pcm16"]
    found["rf64 of 2^63 bytes"] = patched(rf64, 28, "<Q", 2**63)
    found["rf64 of -1 samples"] = patched(rf64, 36, "<Q", 2**64 - 1)
    return found


def _of_aiff() -> dict[str, bytes]:
    aiff = whole_files()["aiff pcm16"]
    common = aiff.index(b"COMM") + 8
    return {
        "aiff of 2^32 - 1 frames": patched(aiff, common + 2, ">I", 2**32 - 1),
        "aiff of 0 channels": patched(aiff, common, ">H", 0),
        "aiff of 1024 channels": patched(aiff, common, ">H", 1_024),
        "aiff at infinite rate": aiff[: common + 8] + b"\x7f\xff\x80" + bytes(7) + aiff[common + 18 :],
        "aiff at rate 0": aiff[: common + 8] + bytes(10) + aiff[common + 18 :],
        "aiff at negative rate": aiff[: common + 8] + b"\xc0\x0e\xfa" + bytes(7) + aiff[common + 18 :],
        "aiff, sound of 4 GB": patched(aiff, aiff.index(b"SSND") + 4, ">I", 0xFFFFFFFF),
        "aiff, sound begins beyond its end": patched(aiff, aiff.index(b"SSND") + 8, ">I", 0x7FFFFFFF),
    }


def _of_flac() -> dict[str, bytes]:
    flac = whole_files()["flac pcm16"]
    audio = flac[flac.index(b"\xff\xf8") :]

    def claiming(num_samples: int, rate: int = 16_000, channels: int = 1, bits: int = 16) -> bytes:
        return b"fLaC" + flac_stream_info(4096, rate, channels, num_samples, bits) + audio

    return {
        "flac of 2^36 - 1 samples": claiming(2**36 - 1),
        "flac of unknown length": claiming(0),
        "flac of one sample": claiming(1),
        "flac of one sample too many": claiming(16_001),
        "flac at rate 0": claiming(16_000, rate=0),
        "flac at 1 Hz": claiming(16_000, rate=1),
        "flac at 655350 Hz": claiming(16_000, rate=655_350),
        "flac of 8 channels": claiming(16_000, channels=8),
        "flac of 4 bits": claiming(16_000, bits=4),
        "flac of 32 bits": claiming(16_000, bits=32),
        "flac, blocks of 0 samples": b"fLaC" + flac_stream_info(0, 16_000, 1, 16_000) + audio,
        "flac, wrong md5": flac[:26] + bytes(range(16)) + flac[42:],
        "flac, a picture of 16 MB": flac[:42] + b"\x06\xff\xff\xff" + flac[46:],
        "flac, a hundred paddings": flac[:42] + b"\x01\x00\x00\x00" * 100 + flac[42:],
        "flac, reserved block": flac[:42] + b"\x7f\x00\x00\x04abcd" + flac[42:],
        "flac, wrong frame checksum": flac[:-1] + bytes([flac[-1] ^ 1]),
        "flac without frames": flac[: flac.index(b"\xff\xf8")],
        "flac, first frame missing": flac[: flac.index(b"\xff\xf8")] + audio[audio.index(b"\xff\xf8", 2) :],
        "flac twice": flac + flac,
    }


def _of_ogg() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for codec in ("vorbis", "opus"):
        ogg = whole_files()[f"ogg {codec}"]
        pages = [ogg[offset : offset + length] for offset, length in ogg_pages(ogg)]
        (*headers, last) = pages
        found |= {
            f"ogg {codec}, wrong checksum": ogg[:-1] + bytes([ogg[-1] ^ 1]),
            f"ogg {codec}, all checksums 0": b"".join(page[:22] + bytes(4) + page[26:] for page in pages),
            f"ogg {codec}, time of 2^62": b"".join(headers) + signed(patched(last, 6, "<q", 2**62)),
            f"ogg {codec}, time of -2": b"".join(headers) + signed(patched(last, 6, "<q", -2)),
            f"ogg {codec}, time of 0": b"".join(headers) + signed(patched(last, 6, "<q", 0)),
            f"ogg {codec}, pages backwards": pages[0] + b"".join(reversed(pages[1:])),
            f"ogg {codec}, headers only": b"".join(headers),
            f"ogg {codec}, first page a hundred times": pages[0] * 100 + b"".join(pages[1:]),
            f"ogg {codec}, two streams": ogg + ogg,
            f"ogg {codec}, other serial": pages[0] + b"".join(signed(patched(p, 14, "<I", 7)) for p in pages[1:]),
        }
    vorbis, opus = (whole_files()[f"ogg {codec}"] for codec in ("vorbis", "opus"))
    first = opus[: ogg_pages(opus)[0][1]]
    rest = opus[len(first) :]
    vorbis_first = vorbis[: ogg_pages(vorbis)[0][1]]
    vorbis_rest = vorbis[len(vorbis_first) :]
    return found | {
        "opus of 0 channels": signed(patched(first, 37, "<B", 0)) + rest,
        "opus of 255 channels": signed(patched(first, 37, "<B", 255)) + rest,
        "opus, pre-skip of 65535": signed(patched(first, 38, "<H", 65_535)) + rest,
        "opus, gain of -128 dB": signed(patched(first, 44, "<h", -32_768)) + rest,
        "opus, mapping 255": signed(patched(first, 46, "<B", 255)) + rest,
        "vorbis at rate 0": signed(patched(vorbis_first, 40, "<I", 0)) + vorbis_rest,
        "vorbis at 2^31 - 1 Hz": signed(patched(vorbis_first, 40, "<I", 2**31 - 1)) + vorbis_rest,
        "vorbis of 255 channels": signed(patched(vorbis_first, 39, "<B", 255)) + vorbis_rest,
        "ogg of speex": signed(first[:28] + b"Speex   " + first[36:]) + rest,
    }


def _of_mp3() -> dict[str, bytes]:
    mp3 = whole_files()["mp3"]
    return {
        "mp3 after a tag of 256 MB": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + mp3,
        "mp3 after a tag of 100 kB": b"ID3\x04\x00\x00\x00\x06\x0d\x20" + bytes(100_000) + mp3,
        "id3 only": b"ID3\x04\x00\x00\x00\x00\x10\x00" + bytes(2_048),
        "id3 of id3 of id3": b"ID3\x04\x00\x00\x00\x00\x00\x00" * 500 + mp3,
        "mp3, bitrate that is none": mp3[:2] + bytes([mp3[2] | 0xF0]) + mp3[3:],
        "mp3, one frame": mp3[:576],
        "mp3, rates that change": mp3 + encode(sweep(44_100), "MP3", "MPEG_LAYER_III", 44_100),
        "mp3, free format": b"".join(b"\xff\xfb\x00\x00" + bytes(100) for _ in range(50)),
        "mp3, sync words only": b"\xff\xfb" * 5_000,
    }


def _of_mp4() -> dict[str, bytes]:
    m4a = whole_files()["m4a aac"]

    def at(atom: bytes, offset: int, layout: str, value: int) -> bytes:
        return patched(m4a, m4a.index(atom) + 4 + offset, layout, value)

    return {
        "mp4 without a track of sound": video_only("mp4", "mpeg4"),
        "m4a, clock of 0": at(b"mdhd", 12, ">I", 0),
        "m4a, length of 2^32 - 1": at(b"mdhd", 16, ">I", 2**32 - 1),
        "m4a, 2^32 - 1 sizes": at(b"stsz", 8, ">I", 2**32 - 1),
        "m4a, every size 2^31 - 1": at(b"stsz", 4, ">I", 2**31 - 1),
        "m4a, 2^32 - 1 times": at(b"stts", 8, ">I", 2**32 - 1),
        "m4a, 2^32 - 1 chunks": at(b"stsc", 4, ">I", 2**32 - 1),
        "m4a, chunk beyond the end": at(b"stco", 8, ">I", 2**32 - 1),
        "m4a, 65535 channels": at(b"mp4a", 16, ">H", 65_535),
        "m4a, rate 0": at(b"mp4a", 24, ">I", 0),
        "m4a, atom of 0 bytes": patched(m4a, m4a.index(b"moov") - 4, ">I", 0),
        "m4a, atom of 2^32 - 1 bytes": patched(m4a, m4a.index(b"moov") - 4, ">I", 2**32 - 1),
        "m4a, atom of 1 byte": patched(m4a, m4a.index(b"trak") - 4, ">I", 1),
        "m4a, encrypted": m4a.replace(b"mp4a", b"enca"),
        "m4a, a link to another file": m4a.replace(b"url ", b"alis"),
        "ftyp only": m4a[:28],
    }


def _of_webm() -> dict[str, bytes]:
    webm = whole_files()["webm opus"]
    duration, rate = webm.index(b"\x44\x89") + 3, webm.index(b"\xb5\x88") + 2
    segment = webm.index(b"\x18\x53\x80\x67") + 4
    cluster = webm.index(b"\x1f\x43\xb6\x75") + 4
    return {
        "webm without a track of sound": video_only("webm", "vp8"),
        "webm of infinite length": patched(webm, duration, ">d", float("inf")),
        "webm of negative length": patched(webm, duration, ">d", -1.0),
        "webm at a rate of nan": patched(webm, rate, ">d", float("nan")),
        "webm at 1e300 Hz": patched(webm, rate, ">d", 1e300),
        "webm, segment of unknown size": webm[:segment] + b"\x01" + b"\xff" * 7 + webm[segment + 8 :],
        "webm, cluster of 2^56 bytes": webm[:cluster] + b"\x01" + b"\xff" * 6 + b"\xfe" + webm[cluster + 8 :],
        "webm, codec that is none": webm.replace(b"A_OPUS", b"A_NONE"),
        "webm, codec that it is not": webm.replace(b"A_OPUS", b"A_AC3\x00"),
        "webm, a thousand voids": webm[: segment + 8] + b"\xec\x80" * 1_000 + webm[segment + 8 :],
        "ebml head only": webm[:40],
    }


def patched(content: bytes, offset: int, layout: str, value: float) -> bytes:
    """The same with a number of `struct` at an offset."""
    number = struct.pack(layout, value)
    return content[:offset] + number + content[offset + len(number) :]


def signed(page: bytes) -> bytes:
    """An Ogg page with the checksum that it should have."""
    blank = page[:22] + bytes(4) + page[26:]
    return page[:22] + struct.pack("<I", checksum(blank, 32)) + page[26:]
