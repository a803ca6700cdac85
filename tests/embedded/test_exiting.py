import subprocess
import sys

import pytest


@pytest.mark.parametrize("code", [0, 1])
def test_buffered_output_is_written_and_the_code_is_kept(code: int) -> None:
    script = f"from embedded.exiting import exit_process; print('a reward table'); exit_process({code})"

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert (ended.returncode, ended.stdout) == (code, "a reward table\n")


def test_a_closed_output_does_not_change_the_code() -> None:
    script = "import sys; sys.stdout.close(); from embedded.exiting import exit_process; exit_process(0)"

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert (ended.returncode, ended.stderr) == (0, "")
