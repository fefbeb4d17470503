import httpx
from fastapi import FastAPI

from app.services.users import PublicUser
from tests.conftest import ClientFactory, cookie, log_in

ME = "/api/v1/users/me"
LOGOUT = "/api/v1/auth/logout"
REFRESH = "/api/v1/auth/refresh"


async def test_logout_revokes_access_and_refresh_immediately(
    app: FastAPI, signed_in: httpx.AsyncClient, make_client: ClientFactory
) -> None:
    copied = make_client(app, cookies=dict(signed_in.cookies))
    response = await signed_in.post(LOGOUT)

    assert response.status_code == 204
    assert [it.name for it in signed_in.cookies.jar] == ["__Host-device"]
    assert (await copied.get(ME)).status_code == 401
    assert (await copied.post(REFRESH)).status_code == 401


async def test_logout_clears_cookies_with_the_attributes_that_login_set(
    client: httpx.AsyncClient, ada: PublicUser
) -> None:
    login = await log_in(client, ada.email)
    logout = await client.post(LOGOUT)

    def attributes(response: httpx.Response) -> list[set[str]]:
        # The device cookie stays.
        return [
            {part for part in line.split("; ")[1:] if not part.startswith("Max-Age")}
            for line in response.headers.get_list("set-cookie")
            if not line.startswith("__Host-device")
        ]

    assert attributes(login) == attributes(logout)
    assert all("Max-Age=0" in line for line in logout.headers.get_list("set-cookie"))


async def test_logout_without_a_session_clears_the_cookies(
    client: httpx.AsyncClient,
) -> None:
    for _ in range(2):
        response = await client.post(LOGOUT)
        assert response.status_code == 204
        assert len(response.headers.get_list("set-cookie")) == 2


async def test_logout_works_with_either_cookie(
    app: FastAPI, client: httpx.AsyncClient, make_client: ClientFactory, ada: PublicUser
) -> None:
    for kind in ("access", "refresh"):
        await log_in(client, ada.email)
        half = {k: v for k, v in client.cookies.items() if k.endswith(kind)}
        await make_client(app, cookies=half).post(LOGOUT)
        assert (await client.get(ME)).status_code == 401


async def test_logout_with_a_rotated_token_revokes_the_session(
    app: FastAPI, signed_in: httpx.AsyncClient, make_client: ClientFactory
) -> None:
    stale_tab = make_client(app, cookies={"__Host-refresh": cookie(signed_in, "refresh")})
    await signed_in.post(REFRESH)
    await stale_tab.post(LOGOUT)

    assert (await signed_in.get(ME)).status_code == 401


async def test_logout_leaves_other_devices_signed_in(
    app: FastAPI, signed_in: httpx.AsyncClient, make_client: ClientFactory, ada: PublicUser
) -> None:
    phone = make_client(app)
    await log_in(phone, ada.email)
    await signed_in.post(LOGOUT)

    assert (await phone.get(ME)).status_code == 200
