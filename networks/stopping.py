"""End of a chunk: the compiled program stops after as many trials as it was given.

Brian2 writes the duration of a run into the code. A chunk is compiled for the largest number
of trials; a shorter one stops here, as Brian2's own programs do on an interrupt. A CUDA kernel
cannot stop the program that launched it: there the engine shortens the run instead.
"""

from brian2 import Function

__all__ = ["stop_simulation"]


def _no_stop(condition):
    return condition


#: Ends the run after the present time step where its argument is not 0; returns the argument.
stop_simulation = Function(
    _no_stop,
    arg_units=[1],
    arg_types=["integer"],
    return_unit=1,
    return_type="integer",
    stateless=False,
)
stop_simulation.implementations.add_implementation("numpy", _no_stop)
stop_simulation.implementations.add_implementation(
    "cpp",
    """
static inline int32_t stop_simulation(const int32_t condition)
{
    if (condition)
        Network::_globally_stopped = true;
    return condition;
}
""",
)
stop_simulation.implementations.add_implementation(
    "cuda",
    """
static inline __host__ __device__ int32_t stop_simulation(const int32_t condition)
{
    return condition;
}
""",
)
