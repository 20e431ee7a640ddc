"""What a run found, as a statement about an artifact that others can rely on."""
