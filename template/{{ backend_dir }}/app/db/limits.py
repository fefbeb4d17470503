"""Limits of every connection. They release the locks of a client that hangs or has crashed."""

import socket
from typing import Any, Final

import asyncpg

# A request takes milliseconds between two statements. Its user's row stays locked meanwhile.
IDLE_IN_TRANSACTION_SECONDS: Final = 30
# A migration may compute something between two statements.
MIGRATION_IDLE_SECONDS: Final = 600
# A peer that responds to none of three probes is disconnected, a minute after its last packet.
KEEPALIVE: Final = {"IDLE": 30, "INTVL": 10, "CNT": 3}

# A value that an operator has set for the role, the database or the URL (`options`) wins.
SET_LIMITS: Final = """
SELECT set_config(name, wanted.value, false)
FROM (VALUES
    ('idle_in_transaction_session_timeout', '{idle}s'),
    ('tcp_keepalives_idle', '{IDLE}'),
    ('tcp_keepalives_interval', '{INTVL}'),
    ('tcp_keepalives_count', '{CNT}')
) AS wanted (name, value)
JOIN pg_settings USING (name)
WHERE source NOT IN ('database', 'user', 'database user', 'client')
"""


async def set_limits(
    connection: asyncpg.Connection, *, pooled: bool, idle_seconds: int, timeout_seconds: float
) -> None:
    """Limit a new connection, at both ends. Terminate it if that fails.

    pooled: a pooler shares the connections to the server with other clients; docs/operations.md
        says what to set there.
    idle_seconds: how long a transaction may wait for its client's next statement.
    timeout_seconds: how long the server may take to set the limits.
    """
    try:
        _keep_alive(connection._transport.get_extra_info("socket"))
        if not pooled:
            limits = SET_LIMITS.format(idle=idle_seconds, **KEEPALIVE)
            await connection.execute(limits, timeout=timeout_seconds)
    except BaseException:
        connection.terminate()
        raise


def _keep_alive(sock: Any) -> None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if option := getattr(socket, f"TCP_KEEP{name}", None):  # not every system has all three
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
