"""Version 1 of the API: add a router here for each resource.

`app/main.py` includes the endpoints for administrators, and `users.py` those for tokens.
"""

from fastapi import APIRouter

from app.api.v1 import (
    auth,
    users,
)

router = APIRouter(prefix="/api/v1")
router.include_router(auth.router)
router.include_router(users.router)
