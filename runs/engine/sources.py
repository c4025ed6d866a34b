"""The sources that a standalone device wrote, made faster to compile.

Compilers spend most of their time on the headers that each of some 70 files includes, and on
writing results that nobody reads.
"""

import re

__all__ = ["UNITS", "shorten"]

#: Files that are compiled, without suffix.
UNITS = ("code_objects", "program")


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
