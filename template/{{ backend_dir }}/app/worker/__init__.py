"""The worker: `runner.py` runs jobs, and `registry.py` lists all jobs and schedules."""
