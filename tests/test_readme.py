"""The README: its listings run as they stand, its commands exist."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.fixture(scope="module")
def namespace():
    """What the Python listings leave behind, run one after the other."""
    variables = {}
    for listing in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(listing, "README.md", "exec"), variables)
    return variables


def test_first_listing_learns(namespace):
    right = namespace["result"].trials.groupby("phase")["correct"].mean()
    assert right["test"] > 0.85  # chance is 0.1
    assert right.isna()["recall"]


def test_half_hidden_stimuli_are_recalled(namespace):
    recalled = namespace["recalled"]
    assert recalled["trial"].nunique() == 50
    assert recalled["rate"].between(0, 1).all() and recalled["rate"].mean() > 0.05


def test_commands_and_options_exist():
    from bsd.runs.cli.app import app

    commands = get_command(app).commands
    for line in re.findall(r"^    bsd (.+)$", README, re.MULTILINE):
        words = line.split("#")[0].split()
        assert words[0] in commands, line
        command = commands[words[0]]
        if hasattr(command, "commands"):
            assert words[1] in command.commands, line
            command = command.commands[words[1]]
        options = {o for p in command.params for o in p.opts}
        assert {w for w in words if w.startswith("--")} <= options, line


def test_no_gap_is_left():
    assert "@" not in re.sub(r"```.*?```", "", README, flags=re.DOTALL)
