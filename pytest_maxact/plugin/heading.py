"""What heads the options of the gate in `pytest --help`, where pytest has no other place for it: examples and exit
codes."""

HEADING = """maxact: release gate for LLM checkpoints
  examples:
    pytest --maxact-model=DIR                              every limit of its family is a test
    pytest --maxact-model=DIR --maxact-limits=limits.yaml  by limits of your own
    pytest --maxact-model=DIR --maxact-deploy=W8A8,FP8     in which formats it can ship
    pytest --maxact-model=DIR --maxact-baseline=OLD        whether it has changed
    pytest --maxact-replay=run.safetensors                 judge a Record, without the model
    maxact explain maxact::layers.3.hidden::max_abs        what a check is, and what to do where it fails
  exit codes, pytest's own:
    0 all checks hold; 1 a breach, or what could not be measured; 4 a request that is wrong
  options"""
