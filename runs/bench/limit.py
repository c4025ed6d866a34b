"""What this machine allows: a bare loop over the weight rows that a network touched.

A recorded chunk of training trials is replayed by a small C++ program, compiled with the
flags of the simulations: it adds the rows of the cells that fired, step by step, four rows in one
pass, and changes the rows that learning changed, and does nothing else. Its time per event is the
limit of memory and arithmetic at that size.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from bsd.runs.bench.events import learning_populations
from bsd.runs.engine.cpp import FLAGS

__all__ = ["measure_limit", "replay_stream"]

_PROGRAM = r"""
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

static void add_rows(const float* weights, int32_t length, const int32_t* rows, int32_t n,
                     float* __restrict out)
{
    int32_t s = 0;
    for (; s + 3 < n; s += 4)
    {
        const float* __restrict a = weights + (size_t)rows[s] * length;
        const float* __restrict b = weights + (size_t)rows[s + 1] * length;
        const float* __restrict c = weights + (size_t)rows[s + 2] * length;
        const float* __restrict d = weights + (size_t)rows[s + 3] * length;
        for (int32_t k = 0; k < length; k++)
            out[k] += (a[k] + b[k]) + (c[k] + d[k]);
    }
    for (; s < n; s++)
    {
        const float* __restrict a = weights + (size_t)rows[s] * length;
        for (int32_t k = 0; k < length; k++)
            out[k] += a[k];
    }
}

static void change_rows(float* weights, int32_t length, const int32_t* rows, int32_t n,
                        const float* __restrict teach, float bound)
{
    for (int32_t s = 0; s < n; s++)
    {
        float* __restrict row = weights + (size_t)rows[s] * length;
        for (int32_t k = 0; k < length; k++)
        {
            float value = row[k] + 0.5f * teach[k];
            value = value > bound ? bound : value;
            row[k] = value < -bound ? -bound : value;
        }
    }
}

int main(int argc, char** argv)
{
    FILE* file = std::fopen(argv[1], "rb");
    const double least = std::atof(argv[2]);
    std::fseek(file, 0, SEEK_END);
    std::vector<int32_t> stream(std::ftell(file) / sizeof(int32_t));
    std::rewind(file);
    if (std::fread(stream.data(), sizeof(int32_t), stream.size(), file) != stream.size()) return 1;
    const int32_t n_projections = stream[0], n_trials = stream[1], steps = stream[2];
    std::vector<std::vector<float>> weights, drive, teach;
    for (int32_t p = 0; p < n_projections; p++)
    {
        const size_t n_pre = stream[3 + 2 * p], n_post = stream[4 + 2 * p];
        weights.emplace_back(n_pre * n_post, 0.01f);
        drive.emplace_back(n_post, 0.0f);
        teach.emplace_back(n_post, 1e-6f);
    }
    double spent = 0;
    for (int32_t pass = -1; pass < 3 || spent < least; pass++)  // the first one warms up
    {
        const auto start = std::chrono::steady_clock::now();
        const int32_t* at = stream.data() + 3 + 2 * n_projections;
        for (int32_t trial = 0; trial < n_trials; trial++)
        {
            for (int32_t step = 0; step < steps; step++)
                for (int32_t p = 0; p < n_projections; p++)
                {
                    add_rows(weights[p].data(), drive[p].size(), at + 1, *at, drive[p].data());
                    at += 1 + *at;
                }
            for (int32_t p = 0; p < n_projections; p++)
            {
                change_rows(weights[p].data(), teach[p].size(), at + 1, *at, teach[p].data(), 4);
                at += 1 + *at;
            }
        }
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        if (pass >= 0)
        {
            std::printf("%.9f\n", took.count());
            spent += took.count();
        }
    }
    float sum = 0;
    for (const auto& d : drive) sum += d[0];
    std::fprintf(stderr, "%g\n", sum);  // so that nothing is optimised away
}
"""


def replay_stream(network, chunk):
    """The rows that a recorded chunk touched, as the program reads them.

    Parameters
    ----------
    network : BidirectionalNetwork
    chunk : Chunk
        Every trial with its spikes kept.

    Returns
    -------
    stream : ndarray of int32
        Number of projections, trials and steps; rows and columns of each projection; then for
        each trial, step and projection, and for each trial and projection that changed, the number
        of rows and the rows.
    n_events : int
        Propagated and changed weights.
    """
    steps, dt = network.parameters.timing.steps, float(network.parameters.timing.dt)
    projections = network.layout.projections
    learns = learning_populations(network, chunk.inputs, chunk.outputs, chunk.n_trials)
    fired = {}
    for monitor in ("afferent_spikes", "cell_spikes"):
        at = np.rint(chunk.outputs[f"{monitor}.t"] / dt).astype(np.int64)
        order = np.argsort(at, kind="stable")
        cells = chunk.outputs[f"{monitor}.i"][order]
        edges = np.searchsorted(at[order], np.arange(chunk.n_trials * steps + 1))
        fired[monitor] = [cells[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    parts = [np.array([len(projections), chunk.n_trials, steps])]
    parts += [np.array(projection.shape) for projection in projections]
    n_events = 0
    for trial in range(chunk.n_trials):
        own = [[] for _ in projections]
        for step in range(trial * steps, (trial + 1) * steps):
            for number, projection in enumerate(projections):
                source = projection.source
                afferent = source.pathway == "afferent"
                cells = fired["afferent_spikes" if afferent else "cell_spikes"][step]
                rows = np.sort(cells[(cells >= source.start) & (cells < source.stop)])
                rows = rows - source.start
                own[number].append(rows)
                parts += [np.array([len(rows)]), rows]
                n_events += len(rows) * projection.shape[1]
        for number, projection in enumerate(projections):
            rows = np.unique(np.concatenate(own[number]))
            rows = rows if learns[projection.target.name][trial] else rows[:0]
            parts += [np.array([len(rows)]), rows]
            n_events += len(rows) * projection.shape[1]
    return np.concatenate(parts).astype(np.int32), n_events


def measure_limit(network, chunk, least_s=0.5):
    """Nanoseconds per event of the bare loop, the median of several passes.

    Parameters
    ----------
    network : BidirectionalNetwork
    chunk : Chunk
        Every trial with its spikes kept.
    least_s : float
        Seconds to spend at least.

    Returns
    -------
    float
    """
    stream, n_events = replay_stream(network, chunk)
    with tempfile.TemporaryDirectory(prefix="bsd-") as scratch:
        scratch = Path(scratch)
        (scratch / "limit.cpp").write_text(_PROGRAM)
        compiler = shutil.which(os.environ.get("CXX", "g++"))
        subprocess.run(
            [compiler, *FLAGS, "limit.cpp", "-o", "limit"], cwd=scratch, check=True
        )
        stream.tofile(scratch / "stream.bin")
        done = subprocess.run(
            ["./limit", "stream.bin", str(least_s)],
            cwd=scratch, check=True, capture_output=True, text=True,
        )
    return 1e9 * float(np.median([float(line) for line in done.stdout.split()])) / n_events
