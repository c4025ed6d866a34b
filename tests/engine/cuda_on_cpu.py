"""Compile a CUDA project as C++, to see on any machine what its kernels compute."""

import re
import subprocess
import sys
from pathlib import Path

from bsd.runs.engine import cuda

#: Headers of CUDA that brian2cuda's code includes.
HEADERS = (
    "cuda.h", "curand.h", "curand_kernel.h", "cuda_profiler_api.h",
    *(f"thrust/{name}.h" for name in (
        "copy", "count", "device_vector", "execution_policy", "host_vector", "reduce", "sort",
        "system_error", "unique",
    )),
)

LAUNCH = re.compile(r"(\w+)<<<([^,>]+),([^,>]+)(?:,[^>]+)?>>>\((.*?)\);", re.DOTALL)


def as_cpp(source):
    """The text with every kernel launch as a call."""
    return LAUNCH.sub(r"launch(\2,\3, [&] { \1(\4); });", source)


def build(folder):
    """Compile the project in a folder as C++; its program is ``main``, as that of nvcc would be."""
    headers = folder / "headers"
    (headers / "thrust").mkdir(parents=True)
    own = Path(__file__).with_name("cuda_on_cpu.h")
    for name in HEADERS:
        (headers / name).write_text(f'#include "{own}"\n')
    objects = []
    for file in sorted(folder.glob("*.cu")):
        cpp = file.with_suffix(".cpp")
        cpp.write_text(f'#include "{own}"\n' + as_cpp(file.read_text()))
        objects.append(
            subprocess.Popen(
                ["g++", "-O1", "-std=c++17", "-w", "-I.", "-Iheaders", "-c", cpp.name],
                cwd=folder, stderr=subprocess.PIPE, text=True,
            )
        )
    for process in objects:
        _, said = process.communicate()
        assert process.returncode == 0, said[:3000]
    subprocess.run(["g++", *(f"{f.stem}.o" for f in folder.glob("*.cu")), "-o", "main"],
                   cwd=folder, check=True)


#: Attributes of `bsd.runs.engine.cuda` with which the CPU is the GPU of the device "cuda".
INSTEAD = (
    (cuda, "gpu", lambda: ("99.9", "a CPU")),
    (cuda, "curand_home", lambda: None),
    (cuda, "nvcc_version", lambda: (13, 0)),
    (cuda, "make", lambda folder, progress: build(folder)),
)


def command(*arguments):
    """Command line of ``bsd`` in a process of its own that has the CPU as its GPU."""
    return [sys.executable, __file__, *map(str, arguments)]


if __name__ == "__main__":
    from bsd.runs.cli import main

    for owner, name, value in INSTEAD:
        setattr(owner, name, value)
    main()
