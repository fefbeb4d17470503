"""The measured endpoints with as little FastAPI code as possible: one handler each, no layers."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import BaseModel
from statements import find_user, open_pool, rotate
from tokens import ACCESS, ACCESS_SECONDS, REFRESH, Refused, check, issue


class Status(BaseModel):
    status: str = "ok"


class User(BaseModel):
    id: uuid.UUID
    email: str
    is_active: bool
    created_at: datetime


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.pool = await open_pool()
    yield
    await app.state.pool.close()


app = FastAPI(
    lifespan=lifespan,
    telemetry={"tracing": False, "operation_spans": False, "metrics": False, "logs": False},
)


@app.get("/health")
async def health() -> Status:
    return Status()


@app.get("/api/v1/users/me")
async def me(request: Request) -> User:
    try:
        user = await find_user(request.app.state.pool, *check(request.cookies.get(ACCESS)))
    except Refused:
        raise HTTPException(401) from None
    return User(**user)


@app.post("/api/v1/auth/refresh", status_code=204)
async def refresh(request: Request) -> Response:
    try:
        rotated = await rotate(request.app.state.pool, request.cookies.get(REFRESH))
    except Refused:
        raise HTTPException(401) from None
    response = Response(status_code=204)
    access = issue(rotated.user_id, rotated.session_id)
    for name, value, seconds in (
        (ACCESS, access, ACCESS_SECONDS),
        (REFRESH, rotated.token, rotated.seconds),
    ):
        response.set_cookie(name, value, seconds, secure=True, httponly=True, samesite="lax")
    return response
