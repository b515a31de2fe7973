"""Train one model in several processes: `mpiexec -n 4 tinyllm train`."""
