"""Behaves as ffmpeg does when it cuts a clip out of a track; what goes wrong stands in the track."""

import sys
import wave
from pathlib import Path

SAMPLE_RATE = 8000


def main() -> None:
    happens = Path(sys.argv[sys.argv.index("-i") + 1]).read_text()
    seconds, target = float(sys.argv[sys.argv.index("-t") + 1]), Path(sys.argv[-1])
    if happens == "empty track":
        print("track.webm: Invalid data found when processing input", file=sys.stderr)
        sys.exit(183)
    if happens == "empty":
        target.write_bytes(b"")
        return
    seconds = {"long": 2 * seconds, "short": 0.2 * seconds - 0.1}.get(happens, seconds)
    with wave.open(str(target), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(SAMPLE_RATE)
        recording.writeframes(b"\x01\x00" * int(seconds * SAMPLE_RATE))
    if happens == "truncated":
        target.write_bytes(target.read_bytes()[:4000])


main()
