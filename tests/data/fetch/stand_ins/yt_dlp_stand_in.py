"""Behaves as yt-dlp does when it is asked for one audio track, also in the ways in which it fails.

plan.json, in the folder that YT_DLP_PLAN names, has video id -> what happens at its first, second ... attempt; the last
repeats, and a video that is not in it is good. Each call adds the id to calls.log there.
"""

import json
import os
import sys
import time
from pathlib import Path

MESSAGES = {
    "gone": "ERROR: [youtube] {id}: Video unavailable",
    "private": "ERROR: [youtube] {id}: Private video. Sign in if you've been granted access to this video",
    "adults": "ERROR: [youtube] {id}: Sign in to confirm your age. This video may be inappropriate for some users.",
    "throttled": "WARNING: [youtube] Unable to download webpage: HTTP Error 429: Too Many Requests\n"
    "ERROR: [youtube] {id}: Sign in to confirm your age. This video may be inappropriate for some users.",
    "robot": "ERROR: [youtube] {id}: Sign in to confirm you’re not a bot.",
    "offline": "ERROR: [youtube] {id}: Unable to download API page: [Errno -3] Temporary failure in name resolution",
}


def main() -> None:
    video_id = sys.argv[-1].partition("watch?v=")[2]
    plan_folder = Path(os.environ["YT_DLP_PLAN"])
    with (plan_folder / "calls.log").open("a") as log:
        log.write(video_id + "\n")
    attempt = (plan_folder / "calls.log").read_text().split().count(video_id)
    plan = json.loads((plan_folder / "plan.json").read_text()).get(video_id, ["good"])
    happens = plan[min(attempt, len(plan)) - 1]
    if happens in MESSAGES:
        print(MESSAGES[happens].format(id=video_id), file=sys.stderr)
        sys.exit(1)
    if happens == "hangs":
        time.sleep(60)
    if happens == "slow":
        time.sleep(1.0)
    output = sys.argv[sys.argv.index("--output") + 1]
    # The stand-in of ffmpeg, which reads it, goes on from here.
    Path(output.replace("%(ext)s", "webm")).write_text(happens)


main()
