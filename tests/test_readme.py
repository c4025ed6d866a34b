"""README and docs: their listings run as they stand, their commands, files and pages exist."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]


def run_listings(page, variables):
    for listing in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(listing, page.name, "exec"), variables)


def ids(page):
    return page.stem


@pytest.fixture(scope="module")
def namespace():
    """What the Python listings leave behind, run one after the other."""
    variables = {}
    run_listings(README, variables)
    return variables


def test_first_listing_learns(namespace):
    right = namespace["result"].trials.groupby("phase")["correct"].mean()
    assert right["test"] > 0.85  # chance is 0.1
    assert right.isna()["recall"]


def test_half_hidden_stimuli_are_recalled(namespace):
    recalled = namespace["recalled"]
    assert recalled["trial"].nunique() == 50
    assert recalled["rate"].between(0, 1).all() and recalled["rate"].mean() > 0.05


@pytest.mark.parametrize("page", PAGES[1:], ids=ids)
def test_listings_run(page, namespace, tmp_path, monkeypatch):
    """A page may go on from the README's listings."""
    monkeypatch.chdir(tmp_path)
    run_listings(page, dict(namespace))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_and_options_exist(page):
    from bsd.runs.cli.app import app

    commands = get_command(app).commands
    for line in re.findall(r"^    bsd (.+)$|`bsd ([^`]+)`", page.read_text(), re.MULTILINE):
        words = "".join(line).split("#")[0].split()
        assert words[0] in commands, line
        command = commands[words[0]]
        if hasattr(command, "commands"):
            assert words[1] in command.commands, line
            command = command.commands[words[1]]
        options = {o for p in command.params for o in p.opts}
        assert {w.split("=")[0] for w in words if w.startswith("--")} <= options, line


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert link.startswith("https://") or (page.parent / link).exists(), link


def test_every_page_is_linked_from_the_readme():
    text = README.read_text()
    for page in PAGES[1:]:
        assert f"docs/{page.name}" in text, page.name


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_no_gap_is_left(page):
    assert "@" not in re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
