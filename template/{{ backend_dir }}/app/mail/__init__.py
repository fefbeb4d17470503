"""Mail: `message.py` renders it from `templates/`, `sending.py` sends it, `job.py` is the job."""
