"""The project files say the same: pyproject, lock, environment, citation, Makefile."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text().splitlines()
CUDA_LOCK = (ROOT / "requirements-cuda.lock").read_text().splitlines()
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())


def requirements(lines):
    parsed = map(Requirement, lines)
    return {canonicalize_name(one.name): one.specifier for one in parsed}


EXTRAS = PROJECT["project"]["optional-dependencies"]
NEEDED = requirements(PROJECT["project"]["dependencies"] + EXTRAS["test"] + EXTRAS["sweep"])
CONDA_PACKAGES = [one for one in CONDA["dependencies"] if isinstance(one, str)]
(PIP_PACKAGES,) = (one["pip"] for one in CONDA["dependencies"] if isinstance(one, dict))


@pytest.mark.parametrize("lock", [LOCK, CUDA_LOCK], ids=["all", "cuda"])
def test_lock_pins_every_line_to_one_version(lock):
    pins = [line for line in lock if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", pin) for pin in pins)
    assert len(requirements(pins)) == len(pins)


def test_lock_satisfies_pyproject():
    pins = requirements(line for line in LOCK if not line.startswith("#"))
    for name, allowed in NEEDED.items():
        assert name in pins, f"{name} is not in requirements.lock"
        (pin,) = pins[name]
        assert pin.version in allowed, f"{name} {pin.version} is outside {allowed}"
    # The editable install builds without isolation.
    (setuptools,) = pins["setuptools"]
    (build,) = map(Requirement, PROJECT["build-system"]["requires"])
    assert setuptools.version in build.specifier


def test_lock_has_all_that_its_packages_need():
    pins = requirements(line for line in LOCK if not line.startswith("#"))
    for name in pins:
        for need in map(Requirement, metadata.requires(name) or ()):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert canonicalize_name(need.name) in pins, f"{name} needs {need}"


def test_cuda_lock_satisfies_pyproject():
    pins = requirements(line for line in CUDA_LOCK if not line.startswith("#"))
    allowed = requirements(EXTRAS["cuda"])
    assert pins.keys() == allowed.keys()
    for name, pin in pins.items():
        assert next(iter(pin)).version in allowed[name]


def test_environment_has_the_versions_of_pyproject():
    conda = requirements(one for one in CONDA_PACKAGES if not one.startswith("python="))
    pip = requirements(one for one in PIP_PACKAGES if not one.startswith("-"))
    assert "conda-forge" in CONDA["channels"] and not set(conda) & set(pip)
    cuda = requirements(EXTRAS["cuda"])
    assert {name: {**conda, **pip}.get(name) for name in NEEDED} == NEEDED
    # Elephant and Neo have other names in conda-forge.
    assert pip == {**cuda, **{name: NEEDED[name] for name in ("elephant", "neo")}}
    assert "--editable ." in PIP_PACKAGES


def test_python_versions_agree():
    allowed = SpecifierSet(PROJECT["project"]["requires-python"])
    chosen = (ROOT / ".python-version").read_text().strip()
    assert chosen == "3.12" and chosen in allowed
    assert f"python={chosen}" in CONDA_PACKAGES
    assert "3.13" in allowed and "3.11" not in allowed and "3.14" not in allowed
    assert PROJECT["tool"]["ruff"]["target-version"] == "py312"


def test_brian2_is_pinned_as_brian2cuda_needs_it():
    assert str(NEEDED["brian2"]) == "==2.10.1"
    assert str(requirements(EXTRAS["cuda"])["brian2cuda"]) == "==1.0b1"


def test_every_package_folder_is_listed():
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    folders = PROJECT["tool"]["setuptools"]["package-dir"]
    found = set()
    for package, folder in folders.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join([package, *parts]))
    assert found == listed


def test_wheel_holds_the_package_and_its_templates(tmp_path):
    source, needed = tmp_path / "source", set()
    for folder in ("equations", "networks", "analysis", "runs"):
        shutil.copytree(
            ROOT / folder, source / folder,
            ignore=shutil.ignore_patterns("__pycache__", "examples"),
        )
        files = (file for file in (source / folder).rglob("*") if file.is_file())
        needed |= {f"bsd/{file.relative_to(source)}" for file in files}
    assert {".py", ".j2", ".yaml"} == {Path(name).suffix for name in needed}
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--wheel-dir", tmp_path, source],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert needed == {
        name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("bsd/")
    }


def test_citation_names_package_and_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"] == "GPL-3.0-or-later"
    paper = citation["references"][0]
    assert paper["title"].endswith("Bidirectional Spike-Based Distillation")
    assert "2509.20284" in paper["url"]
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize(
    "package, licences",
    [("brian2", ("CeCILL-2.1", "CECILL-2.1")), ("brian2cuda", ("GPL-3.0-only",))],
)
def test_licences_are_those_that_the_documentation_settles(package, licences):
    """Another one would have to be looked at again."""
    try:
        said = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
    own = said.get("License-Expression") or said.get("License")
    assert own in licences
    assert licences[0] in (ROOT / "docs" / "reliability.md").read_text()


@pytest.mark.parametrize(
    "target",
    ["setup", "setup-cuda", "demo", "test", "test-all", "lint", "torch", "wheel", "clean"],
)
def test_makefile_has_the_target(target):
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", target], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_setup_without_a_fitting_python_names_the_cure(tmp_path):
    for file in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / file).write_text((ROOT / file).read_text())
    done = subprocess.run(
        ["make", "setup", "PYTHON=/nonexistent/python"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "make setup PYTHON=/path/to/python3.12" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_torch_is_set_up_with_the_first_python_that_can(tmp_path):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    done = subprocess.run(
        ["make", "torch"], cwd=tmp_path, capture_output=True, text=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)} | {"PIP_NO_INDEX": "1"},
    )
    assert done.returncode != 0
    tried = [line for line in done.stdout.splitlines() if line.startswith("trying")]
    assert tried == [f"trying python3.{minor}" for minor in (11, 12, 13)]
    assert "PyTorch could be installed for none" in done.stderr
    assert not (tmp_path / ".venv-torch").exists()


def test_ci_is_an_executable_bash_script():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", script], check=True)
