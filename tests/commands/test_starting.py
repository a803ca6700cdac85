"""How the entrances begin: an error before everything is imported is one sentence too."""

import ast
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commandline import STARTER, WORKER, CommandLine
from polling import wait_until
from world import ROOT

# This replaces a package of ours. It says that it is being imported, and never ends.
_AN_IMPORT_THAT_LASTS = """
import os, pathlib, time
pathlib.Path(os.environ["REACHED"]).touch()
while True:
    time.sleep(0.05)
"""
_AS_AN_OLD_PYTHON = "import runpy, sys; sys.version_info = (3, 10, 13); sys.argv = sys.argv[1:]; "
_AS_AN_OLD_PYTHON += "runpy.run_path(sys.argv[0], run_name='__main__')"


@pytest.mark.parametrize("script", [STARTER, WORKER])
def test_an_interrupt_while_it_is_still_importing_is_one_word(
    script: str, nowhere: CommandLine, tmp_path: Path
) -> None:
    nowhere.write("typer.py", _AN_IMPORT_THAT_LASTS)
    reached = tmp_path / "reached"
    environment = nowhere.environment | {"PYTHONPATH": str(tmp_path), "REACHED": str(reached)}
    with subprocess.Popen(
        [sys.executable, script, "--help"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(reached.exists, "it imports")
        process.send_signal(signal.SIGINT)
        said = process.communicate()

    assert (process.returncode, *said) == (130, "", "interrupted\n")


@pytest.mark.parametrize("script", ["starter.py", "worker.py"])
def test_a_python_without_the_packages_says_how_to_run_it(script: str, nowhere: CommandLine) -> None:
    answer = subprocess.run(
        [sys.executable, "-S", ROOT / script, "audit"], env=nowhere.environment, capture_output=True, text=True
    )

    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (1, "", 1)
    for part in (sys.executable, "has no package typer", "`make run`", f".venv/bin/python {script}"):
        assert part in answer.stderr


@pytest.mark.parametrize("script", ["starter.py", "worker.py"])
def test_a_python_that_is_too_old_says_how_to_run_it(script: str, nowhere: CommandLine) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", _AS_AN_OLD_PYTHON, ROOT / script],
        env=nowhere.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )

    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (1, "", 1)
    for part in ("Python 3.11 or later is needed", "is 3.10", "`make run`", f".venv/bin/python {script}"):
        assert part in answer.stderr


@pytest.mark.parametrize("file", ["starter.py", "worker.py", "commands/__init__.py", "commands/starting.py"])
def test_a_python_that_is_too_old_can_read_the_module_that_says_so(file: str) -> None:
    ast.parse((ROOT / file).read_text(encoding="utf-8"), feature_version=(3, 7))


def test_the_python_that_is_needed_is_the_one_that_is_declared() -> None:
    from commands.starting import PYTHON_NEEDED

    declared = f'requires-python = ">={".".join(map(str, PYTHON_NEEDED))}"'
    assert declared in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_importing_the_library_changes_nothing_about_the_process() -> None:
    look = (
        "import signal, sys; before = signal.getsignal(signal.SIGINT), sys.excepthook; import starter, worker; "
        "print(before == (signal.getsignal(signal.SIGINT), sys.excepthook))"
    )
    found = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "True\n"
