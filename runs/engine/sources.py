"""The sources that a standalone device wrote, made faster to compile and to run.

Compilers spend most of their time on the headers that each of some 70 files includes, and on
writing results that nobody reads; programs spend some on spikes that nobody records.
"""

import re

from bsd.networks import CONTROL_COLUMNS

__all__ = ["UNITS", "code_objects", "replace_once", "shorten", "skip_unrecorded"]

#: Files that are compiled, without suffix.
UNITS = ("code_objects", "program")


#: Code that decides which spikes are kept.
_KEEPING = (
    "cells_recorded_thresholder", "cell_spikes",
    "afferents_recorded_thresholder", "afferent_spikes",
)

_RETURN = """\
{
        // the row of the trial table tells whether this trial is recorded, in any replica
        const int64_t row = std::min<int64_t>(@CLOCK@.timestep[0]/@STEPS@, @LAST@);
        bool recorded = false;
        for (int k = @COLUMN@; k < @WIDTH@; k += @COLUMNS@)
            recorded |= control_values[row*@WIDTH@ + k] > 0;
        if (!recorded) return;
    }
"""


def code_objects(directory, names, suffix):
    """Files of code objects, to whose names Brian2 may add a number."""
    files = sorted((directory / "code_objects").glob(f"*{suffix}"))
    wanted = re.compile(rf"({'|'.join(names)})_codeobject(_\d+)?")
    return [file for file in files if wanted.fullmatch(file.stem)]


def skip_unrecorded(directory, suffix, network):
    """Look for spikes to keep in the trials that are recorded only.

    Parameters
    ----------
    directory : Path
        Project as Brian2 wrote it.
    suffix : str
        Of its sources, ``".cpp"`` or ``".cu"``.
    network : BidirectionalNetwork
    """
    marks = {
        "@STEPS@": network.parameters.timing.steps,
        "@LAST@": network.capacity,
        "@COLUMN@": CONTROL_COLUMNS.index("record"),
        "@COLUMNS@": len(CONTROL_COLUMNS),
        "@WIDTH@": len(CONTROL_COLUMNS) * network.layout.replicas,
    }
    main = (directory / f"main{suffix}").read_text()
    for file in code_objects(directory, _KEEPING, suffix):
        code = _RETURN.replace("@CLOCK@", re.search(rf"&(\w+), _run_{file.stem}\)", main)[1])
        for mark, value in marks.items():
            code = code.replace(mark, str(value))
        start = rf"(void _run_{file.stem}\(\)\s*\{{\s*using namespace brian;\s*)"
        replace_once([file], start, rf"\1{code}")


def replace_once(files, pattern, new):
    """Replace a pattern that each of some files has once.

    Raises
    ------
    RuntimeError
        If one has it never, or several times.
    """
    for file in files:
        text, found = re.subn(pattern, new, file.read_text(), flags=re.DOTALL)
        if found != 1:
            raise RuntimeError(f"Brian2's {file.name} has {pattern!r} {found} times, not once")
        file.write_text(text)


def shorten(directory, suffix, program, outputs):
    """Leave out the results that are not asked for, and join the sources into two files.

    Parameters
    ----------
    directory : Path
        Project as Brian2 wrote it.
    suffix : str
        Of its sources, ``".cpp"`` or ``".cu"``.
    program : sequence of str
        The sources that are no code objects, without suffix, in the order in which they are joined.
    outputs : set of str
        Files of the results that are read.

    Raises
    ------
    RuntimeError
        If the project holds other files or results.
    """
    _write_only(directory / f"objects{suffix}", outputs)
    folder = directory / "code_objects"
    code = _join_code_objects(folder, suffix)
    parts = [directory / f"{name}{suffix}" for name in program]
    whole = "\n".join(part.read_text() for part in parts)
    for file in [*folder.glob(f"*{suffix}"), *parts]:
        file.unlink()
    if left := list(directory.rglob(f"*{suffix}")):
        raise RuntimeError(f"Brian2 wrote files that are not known: {sorted(left)}")
    for unit, text in zip(UNITS, (code, whole), strict=True):
        (directory / f"{unit}{suffix}").write_text(text)


_OUTPUT = re.compile(
    r"""
    (?:CUDA_SAFE_CALL\(\s*cudaMemcpy\([^;]*cudaMemcpyDeviceToHost\)\s*\);\s*  # from the device
       |\w+\s=\sdev\w+;\s*)?
    ofstream\soutfile_(\w+);\s*
    outfile_\1\.open\(results_dir\s\+\s"([^"]+)".*?
    Error\swriting\soutput\sfile\sfor\s\1\."\s<<\s(?:std::)?endl;\s*\}
    """,
    re.VERBOSE | re.DOTALL,
)


def _write_only(file, outputs):
    """In a cohort the others are gigabytes of indices of synapses."""
    kept, found = file.read_text(), set()

    def chosen(match):
        found.add(match[2])
        return match[0] if match[2] in outputs else ""

    kept = _OUTPUT.sub(chosen, kept)
    if missing := outputs - found:
        raise RuntimeError(f"Brian2's {file.name} does not write {sorted(missing)}")
    file.write_text(kept)


_INCLUDE = re.compile(r'^[ \t]*#include\s*(<[^>]+>|"[^"]+").*$', re.MULTILINE)
_FUNCTION = re.compile(r"^void (\w+)\(\)\s*$", re.MULTILINE)


def _join_code_objects(folder, suffix):
    """Text of all code objects, each in a namespace."""
    after = {file.name: file for file in folder.glob("after_run_*.cu")}
    headers, bodies = {}, []
    for file in sorted(set(folder.glob(f"*{suffix}")) - set(after.values())):
        text = file.read_text()
        # what is done after the run calls a kernel of the same object
        if last := after.get(f"after_run_{file.name}"):
            text += last.read_text()
        headers |= dict.fromkeys(_INCLUDE.findall(text))
        body, space = _INCLUDE.sub("", text), f"in_{file.stem}"
        calls = [f"void {name}() {{ {space}::{name}(); }}" for name in _FUNCTION.findall(body)]
        bodies.append(f"namespace {space}\n{{\n{body}\n}}\n" + "\n".join(calls))
    includes = "".join(f"#include {name}\n" for name in headers)
    return includes + "\n".join(bodies) + "\n"
