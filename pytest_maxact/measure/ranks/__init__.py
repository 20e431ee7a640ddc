"""Several processes that measure one checkpoint: each a share of the batches, one of them everything else."""
