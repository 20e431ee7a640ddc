"""What a runner of GitHub's kind shows of a run beside its log."""
