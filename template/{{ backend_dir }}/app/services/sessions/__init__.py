"""Sessions: opening one by login, keeping it by rotation, ending it.

Every change to a user's sessions happens under a lock on that user's row; see `lock.py`.
"""
