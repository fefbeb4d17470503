"""Pure ASGI middleware. `app/main.py` has the order."""
