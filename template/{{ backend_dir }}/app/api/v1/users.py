"""Users: signing up, and who I am."""

from fastapi import APIRouter

from app.api.deps import CurrentSettings, CurrentUser, Db, Hasher
from app.api.problems import problem_responses
from app.api.schemas import UserIn, UserOut
from app.core.emails import Email
from app.services.errors import SignupDisabled
from app.services.users import PublicUser, create_user

router = APIRouter(prefix="/users", tags=["users"])


@router.post(
    "",
    status_code=201,
    response_model=UserOut,
    responses=problem_responses(403, 409, 413, 415, 422, 503),
)
async def sign_up(user: UserIn, db: Db, hasher: Hasher, settings: CurrentSettings) -> PublicUser:
    """Create an account, where `SIGNUP_ENABLED` allows it. Does not sign in."""
    if not settings.signup_enabled:
        raise SignupDisabled
    return await create_user(
        db, hasher, Email(user.email), user.password, min_length=settings.password_min_length
    )


@router.get("/me", response_model=UserOut, responses=problem_responses(401, 503))
async def read_me(user: CurrentUser) -> PublicUser:
    """Tell who is signed in."""
    return user
