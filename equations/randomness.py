"""Randomness without a generator: numbers that are pure functions of (key, trial, step).

A counter-based hash (Wang-Jenkins style avalanche of 32-bit integers) takes the place of a
random number generator inside the dynamics, so that a result depends neither on the chunk
size nor on the order of evaluation, a new seed compiles nothing, and no two cells or replicas
share a stream.
"""

import numpy as np
from brian2 import Function

__all__ = ["hash_uniform", "seed_words", "stream_keys", "uniform"]

_CPP = """
@HOST_DEVICE@
static inline double hash_uniform(const int32_t key, const int32_t trial, const int32_t step)
{
    uint32_t h = (uint32_t)key;
    h ^= (uint32_t)trial * 0x9E3779B1u;
    h ^= h >> 16; h *= 0x7FEB352Du; h ^= h >> 15; h *= 0x846CA68Bu; h ^= h >> 16;
    h ^= (uint32_t)step * 0x85EBCA77u;
    h ^= h >> 16; h *= 0x7FEB352Du; h ^= h >> 15; h *= 0x846CA68Bu; h ^= h >> 16;
    return (h >> 8) * (1.0 / 16777216.0);
}
"""


def _avalanche(h):
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x7FEB352D)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x846CA68B)
    h ^= h >> np.uint32(16)
    return h


def uniform(key, trial, step=0):
    """Uniform numbers in [0, 1), the NumPy twin of the compiled ``hash_uniform``.

    Parameters
    ----------
    key, trial, step : array_like of int
        Stream (see `stream_keys`), trial number and time step; broadcast together.

    Returns
    -------
    ndarray of float64
        Multiples of 2**-24 in [0, 1).
    """
    key, trial, step = np.broadcast_arrays(key, trial, step)
    with np.errstate(over="ignore"):
        h = key.astype(np.int64).astype(np.uint32)
        h ^= trial.astype(np.int64).astype(np.uint32) * np.uint32(0x9E3779B1)
        h = _avalanche(h)
        h ^= step.astype(np.int64).astype(np.uint32) * np.uint32(0x85EBCA77)
        h = _avalanche(h)
    return (h >> np.uint32(8)) * (1.0 / 16777216.0)


def seed_words(seed):
    """A seed as 32-bit words, to which the name of a stream is added."""
    # the 0 keeps what a seed means from one version to the next
    return [int(seed) & 0xFFFFFFFF, int(seed) >> 32 & 0xFFFFFFFF, 0]


def stream_keys(seed, stream, n):
    """One 31-bit key per cell.

    Parameters
    ----------
    seed : int
        Seed of the experiment, or of the replica.
    stream : str
        What the numbers are for, such as ``"encoder S"``; streams are independent.
    n : int
        Number of cells.

    Returns
    -------
    ndarray of int32, shape (n,)
    """
    words = [*seed_words(seed), *stream.encode()]
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
    return generator.integers(0, 2**31 - 1, size=n, dtype=np.int32)


#: Brian2 function for use in model equations and statements, on every device.
hash_uniform = Function(
    uniform,
    arg_units=[1, 1, 1],
    arg_types=["integer", "integer", "integer"],
    return_unit=1,
    return_type="float",
    stateless=True,
)
hash_uniform.implementations.add_implementation("numpy", uniform)
for _target, _qualifiers in (("cpp", ""), ("cuda", "__host__ __device__")):
    hash_uniform.implementations.add_implementation(
        _target, _CPP.replace("@HOST_DEVICE@", _qualifiers)
    )
