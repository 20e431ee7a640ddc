"""What GitLab shows of a run beside a merge request."""
