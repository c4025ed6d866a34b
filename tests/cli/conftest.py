"""The command ``bsd``: refusals, and the command as a process of its own."""

import subprocess
import sys

import pytest

#: As the installed command; a shell that runs things in the background may ignore Ctrl-C.
SCRIPT = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from bsd.runs.cli import main; main()"
)


@pytest.fixture
def refused(bsd, monkeypatch):
    """Assert that a call ends with exit code 2 and one line that says what to do."""
    import bsd.runs.engine.cpp as cpp

    def never(*_):
        raise AssertionError("something was compiled before the input was checked")

    monkeypatch.setattr(cpp, "generate", never)

    def check(*arguments, says):
        code, _, err = bsd(*arguments)
        lines = err.strip().splitlines()
        assert code == 2, err
        assert len(lines) == 1, err
        assert lines[0].startswith("error: ")
        assert says in lines[0], err

    return check


@pytest.fixture(scope="session")
def command():
    """Function that makes the command line of ``bsd`` in a process of its own."""
    return lambda *arguments: [sys.executable, "-c", SCRIPT, *map(str, arguments)]


@pytest.fixture(scope="session")
def finished(tmp_path_factory, command):
    """A short run of the demo through the command line; folder and standard output."""
    folder = tmp_path_factory.mktemp("cli") / "demo"
    run = command("run", "demo", "--epochs", 2, "--layers", "64,64", "--json", "--out", folder)
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    return folder, done.stdout, done.stderr
