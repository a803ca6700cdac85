import subprocess
import sys

import pytest
from world import ROOT

# Any Linux process can adopt the orphans among its descendants, as process 1 of a container does.
SCRIPT = """
import asyncio, ctypes, os, subprocess
from running.orphans import reap_orphans

async def main():
    asyncio.create_task(reap_orphans(0.02))
    own = subprocess.Popen(["sleep", "60"])
    answer = subprocess.run(["sh", "-c", "sleep 0 >/dev/null & echo $!"], capture_output=True, text=True)
    while os.path.exists(f"/proc/{int(answer.stdout)}"):
        await asyncio.sleep(0.02)
    own.kill()
    assert own.wait() == -9

PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
asyncio.run(asyncio.wait_for(main(), 30))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="orphans go to another process only on Linux")
def test_an_orphan_is_reaped_and_a_child_of_our_own_is_left_to_whoever_waits_for_it() -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True)

    assert (ended.returncode, ended.stderr) == (0, "")
