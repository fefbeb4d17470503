"""Background jobs: `job.py` has the base class, and `queue.py` enqueues. See docs/jobs.md."""
