"""Counter-based random numbers: each is a function of (seed, stream, trial, index) alone.

A generator that is drawn from in turn would make a stimulus depend on how the trials are cut
into chunks; a hash of the counters does not, and it is vectorised over trials.
"""

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MASK = (1 << 64) - 1


def _mix(state):
    """Finaliser of SplitMix64 (Steele, Lea & Flood 2014), on an array of uint64."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def random_bits(seed, stream, trials, n_draws):
    """Random 64-bit integers, one SplitMix64 sequence per trial.

    Parameters
    ----------
    seed : int
        Not negative.
    stream : int
        Number of the purpose; two purposes with the same seed are independent.
    trials : array of int, shape (n,)
        Trial numbers, not negative.
    n_draws : int
        Numbers per trial.

    Returns
    -------
    array of uint64, shape (n, n_draws)
    """
    trials = np.asarray(trials).astype(np.uint64)
    seed = int(seed)
    key = np.array([seed & _MASK, seed >> 64 & _MASK, stream], dtype=np.uint64)
    state = np.zeros(1, dtype=np.uint64)
    for word in key:
        state = _mix(state + _GOLDEN + word)
    state = _mix(state + _GOLDEN * (trials + np.uint64(1)))
    draws = np.arange(1, n_draws + 1, dtype=np.uint64) * _GOLDEN
    return _mix(state[:, None] + draws[None, :])


def random_uniform(seed, stream, trials, n_draws):
    """Random numbers in the open interval (0, 1), shape (n, n_draws), float64."""
    bits = random_bits(seed, stream, trials, n_draws) >> np.uint64(11)
    return (bits.astype(np.float64) + 0.5) * 2.0**-53


def random_normal(seed, stream, trials, n_draws):
    """Standard normal random numbers (Box-Muller), shape (n, n_draws), float64."""
    pairs = (n_draws + 1) // 2
    uniform = random_uniform(seed, stream, trials, 2 * pairs)
    radius = np.sqrt(-2.0 * np.log(uniform[:, :pairs]))
    angle = 2.0 * np.pi * uniform[:, pairs:]
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return normal[:, :n_draws]
