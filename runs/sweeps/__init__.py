"""Sweeps: one experiment at many points of its parameters, on Dask.

`read_sweep` reads and checks a sweep file, `run_sweep` runs it. On one machine nothing else is
needed. On a cluster, workers (one thread each) and the starting machine share a file system, with
``BSD_CACHE`` on it; under SLURM, for example, with dask-jobqueue in a Python session of its own::

    from dask_jobqueue import SLURMCluster

    cluster = SLURMCluster(cores=1, processes=1, memory="4GB", walltime="02:00:00")
    cluster.scale(64)
    print(cluster.scheduler_address)     # for bsd sweep FILE.yaml --scheduler ADDRESS
"""

from bsd.runs.sweeps.plan import SHIPPED, Point, Sweep, read_sweep
from bsd.runs.sweeps.run import run_sweep

__all__ = ["SHIPPED", "Point", "Sweep", "read_sweep", "run_sweep"]
