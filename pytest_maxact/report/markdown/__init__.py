"""The outcome of a run as Markdown, where Markdown is read: the summary of a step in CI, a model card."""
