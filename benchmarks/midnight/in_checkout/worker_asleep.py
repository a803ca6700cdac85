"""Runs a checkout's ``worker.py``, whose users wake at the instant that a file names.

A user's wake is an offset to the boundary, which every run is told when it starts and then carries: only that is
put in another place, so that midnight is seconds away. The file has the seconds from the last boundary.
"""

import os
import runpy
import sys
from datetime import timedelta
from pathlib import Path

import staking.days


def _offset(user_id: str, spread: timedelta) -> timedelta:
    return timedelta(seconds=float(Path(os.environ["MIDNIGHT_WAKE_OFFSET_FILE"]).read_text(encoding="utf-8")))


if __name__ == "__main__":
    staking.days.wake_offset = _offset
    sys.argv[0] = "worker.py"
    runpy.run_path("worker.py", run_name="__main__")
