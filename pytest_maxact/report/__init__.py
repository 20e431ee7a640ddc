"""What a run shows, one medium per folder; reports are given findings, and judge nothing."""
