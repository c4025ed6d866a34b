"""The C++ standalone device: compile a network once, then run its binary chunk by chunk."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from bsd.equations.errors import InputError
from bsd.networks.bidirectional import MEMORY_BLOCK
from bsd.runs.engine.sources import UNITS, code_objects, replace_once, shorten, skip_unrecorded
from bsd.runs.engine.standalone import (
    StandaloneSimulator,
    cache_directory,
    hashed,
    preferences,
    run_make,
    write_project,
)

__all__ = ["FLAGS", "CppSimulator", "cache_directory", "compiler", "generate", "structure_key"]

FLAGS = ["-O3", "-ffast-math", "-fno-finite-math-only", "-march=native", "-std=c++17", "-w"]

#: Sources that are no code objects.
_PROGRAM = ("synapses_classes", "objects", "network", "run", "main", "brianlib/spikequeue")


def structure_key(network):
    """Name of a compiled network: a hash of everything that goes into its code."""
    return hashed(network, ["cpp.py"], flags=FLAGS, compiler=compiler_version())


def compiler():
    """Path of the C++ compiler, ``$CXX`` or g++.

    Raises
    ------
    InputError
        If it or make is missing.
    """
    compiler = os.environ.get("CXX", "g++")
    found = shutil.which(compiler)
    if found is None and "CXX" in os.environ:
        raise InputError(
            f"CXX = {compiler!r} is no command: set it to a compiler, or leave it out for g++."
        )
    if found is None or shutil.which("make") is None:
        raise InputError(
            "no C++ compiler: install g++ and make (Debian: apt install g++ make; conda: "
            "cxx-compiler make), or use --device runtime."
        )
    return found


def compiler_version():
    """Version, and what -march=native means on this processor."""
    command = [compiler(), "-march=native", "-Q", "--help=target"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    version = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=False)
    if version.returncode != 0 or not version.stdout:
        raise InputError(
            f"{compiler()} --version fails (exit code {version.returncode}): set CXX to a C++ "
            "compiler that works, or use --device runtime."
        )
    return version.stdout.splitlines()[0] + run.stdout


def generate(network, directory):
    """Write the C++ project of a network, without compiling it.

    Parameters
    ----------
    network : BidirectionalNetwork
    directory : path-like
        Must not exist, or be empty.

    Returns
    -------
    dict
        Manifest: inputs (size, dtype) and outputs (file, dtype, row length) of the program.
    """
    with preferences(
        codegen__cpp__extra_compile_args_gcc=FLAGS,
        devices__cpp_standalone__openmp_threads=0,
    ):
        manifest = write_project(network, directory, "cpp_standalone")
    directory = Path(directory)
    skip_unrecorded(directory, ".cpp", network)
    _collect_without_branches(directory)
    _sum_memories_in_rows(directory, network)
    _shorten(directory, {spec["file"] for spec in manifest["outputs"].values()})
    return manifest


def _collect_without_branches(directory):
    """Write every cell to the list of those that fire, and go on in the list if it does.

    A processor cannot foresee which cells fire. Cells that become refractory stay as they are.
    """
    files = [file for file in directory.glob("code_objects/*_thresholder_codeobject*.cpp")
             if "_cond" in file.read_text() and "not_refractory[_idx] = " not in file.read_text()]
    replace_once(
        files,
        r"if\s*\(_cond\) \{\s*(\w+)\[_count\+\+\] = _idx;\s*\}",
        r"\1[_count] = _idx;\n        _count += _cond;",
    )


_SUM_FOR_MEMORIES = """
    for (const auto& _row : _rows)
    {
        std::remove_reference_t<decltype(@SUM@[0])> _sums[@BLOCK@] = {};
        for (int32_t _cell = 0; _cell < _row[1]; _cell++)
            for (int32_t _memory = 0; _memory < @BLOCK@; _memory++)
            {
                const int32_t _idx = _row[0] + @BLOCK@*_cell + _memory;
                @CODE@
                _sums[_memory] += _synaptic_var;
            }
        for (int32_t _memory = 0; _memory < @BLOCK@; _memory++)
            @SUM@[_row[2] + _memory] = _sums[_memory];
    }
"""

_SUM_FOR_CELLS = """
    for (const auto& _row : _rows)
        for (int32_t _cell = 0; _cell < _row[1]; _cell++)
            for (int32_t _memory = 0; _memory < @BLOCK@; _memory++)
            {
                const int32_t _idx = _row[0] + @BLOCK@*_cell + _memory;
                @CODE@
                @SUM@[_row[3] + _cell] += _synaptic_var;
            }
"""


def _sum_memories_in_rows(directory, network):
    """Sum over memory synapses without looking up which memory and which cell each one joins.

    Their order is regular (`BidirectionalNetwork.memory_blocks`), so that sums stay in registers.
    """
    rows, first = [], 0  # first synapse, number of cells, first memory, first cell
    for memory, n_memories, cell, n_cells in network.memory_blocks():
        if n_memories != MEMORY_BLOCK:
            return
        rows.append(f"{{{first}, {n_cells}, {memory}, {cell}}}")
        first += n_memories * n_cells
    table = f"static const int32_t _rows[][4] = {{{', '.join(rows)}}};\n"
    for names, code in (
        (("overlap_pre", "likeness_pre"), _SUM_FOR_MEMORIES),
        (("inhibition_post",), _SUM_FOR_CELLS),
    ):
        names = [f"memory_pattern_summed_variable_{name}" for name in names]
        replace_once(
            code_objects(directory, names, ".cpp"),
            r"for\(int _idx=0; _idx<\w+\[0\]; _idx\+\+\)\s*\{(\s*// vector code.*?)"
            r"(\w+)\[\w+_synaptic_(?:pre|post)\[_idx\]\] \+= _synaptic_var;\s*\}",
            lambda loop, code=code: table + code.replace("@SUM@", loop[2]).replace(
                "@CODE@", _without_look_up(loop[1])
            ).replace("@BLOCK@", str(MEMORY_BLOCK)),
        )


def _without_look_up(code):
    code = re.sub(r"\w+_synaptic_pre\[_idx\]", "_row[2] + _memory", code)
    return re.sub(r"\w+_synaptic_post\[_idx\]", "_row[3] + _cell", code)


def _shorten(directory, outputs):
    queue = directory / "brianlib" / "spikequeue.cpp"
    here, joined = '"spikequeue.h"', '"brianlib/spikequeue.h"'
    queue.write_text(queue.read_text().replace(here, joined))
    shorten(directory, ".cpp", _PROGRAM, outputs)
    makefile = directory / "makefile"
    sources = "SRCS = " + " ".join(f"{unit}.cpp" for unit in UNITS)
    text, found = re.subn(r"^SRCS = .*$", sources, makefile.read_text(), flags=re.MULTILINE)
    if found != 1:
        raise RuntimeError(f"Brian2's makefile has {found} lines 'SRCS' instead of one")
    makefile.write_text(text)


def make(folder, progress):
    """Compile a generated project, as many files at a time as there are cores."""
    (folder / "make.deps").touch()  # the sources are new: nothing to depend on
    run_make(folder, [f"CXX={compiler()}", "-o", "make.deps"], len(UNITS) + 1, progress)


class CppSimulator(StandaloneSimulator):
    """A network compiled as C++."""

    device = "cpp_standalone"

    def _key(self):
        return structure_key(self.network)

    def _generate(self, folder):
        return generate(self.network, folder)

    def _make(self, folder, progress):
        make(folder, progress)
