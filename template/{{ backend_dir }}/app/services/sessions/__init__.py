"""Sessions: sign-in, refresh, sign-out, and the list of a user's sessions.

Every change to a user's sessions happens under a lock on that user's row; see `lock.py`.
"""
