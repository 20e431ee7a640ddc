"""thresholds.yaml to the limits of one checkpoint: read with line numbers, validated, and looked up. Reading only."""
