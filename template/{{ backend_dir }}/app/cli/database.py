"""Commands that look after the database."""

from app.core.startup import load_or_exit
from app.db import revisions
from app.db.local import use_local_database


def migrate() -> None:
    """Bring the database to this code's schema; any number of replicas may call it at once."""
    use_local_database()
    load_or_exit()
    revisions.migrate()
