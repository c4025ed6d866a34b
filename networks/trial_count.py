"""End of a chunk, and its progress, from within the model.

Brian2 writes the duration of a run into the code. A chunk is compiled for the largest number
of trials; a shorter one stops here, as Brian2's own programs do on an interrupt. Brian2's own
progress reports would read the clock for every object in every step. A CUDA kernel can do
neither: there the engine shortens the run and Brian2 reports.
"""

import numpy as np
from brian2 import Function

__all__ = ["trials_over"]


def _trials_over(trial, n_trials):
    return np.asarray(trial >= n_trials, dtype=np.int32)


#: 1 where `trial` is past the last of `n_trials`; C++ programs then end after the present step.
trials_over = Function(
    _trials_over,
    arg_units=[1, 1],
    arg_types=["integer", "integer"],
    return_unit=1,
    return_type="integer",
    stateless=False,
)
trials_over.implementations.add_implementation("numpy", _trials_over)
trials_over.implementations.add_implementation(
    "cpp",
    """
static inline int32_t trials_over(const int32_t trial, const int32_t n_trials)
{
    static std::chrono::steady_clock::time_point last;
    const std::chrono::steady_clock::time_point now = std::chrono::steady_clock::now();
    const bool over = trial >= n_trials;
    if (trial == 0 || over || now - last > std::chrono::milliseconds(500))
    {
        std::cout << "progress " << trial << std::endl;
        last = now;
    }
    if (over)
        Network::_globally_stopped = true;
    return over;
}
""",
    compiler_kwds={"headers": ["<chrono>", "<iostream>"]},
)
trials_over.implementations.add_implementation(
    "cuda",
    """
static inline __host__ __device__ int32_t trials_over(const int32_t trial, const int32_t n_trials)
{
    return trial >= n_trials;
}
""",
)
