from app.core.database_url import parse_database_url
from app.core.settings import ExplicitSettings
from app.db.session import Database
from tests.conftest import SECRET


def test_the_urls_secrets_are_in_no_repr() -> None:
    assert "hunter2" not in repr(parse_database_url("postgresql://u:hunter2@host/db"))


async def test_through_a_pooler_nothing_is_kept_on_a_connection(test_database: str) -> None:
    settings = ExplicitSettings(
        environment="test", database_url=test_database, jwt_secret=SECRET, database_pooler=True
    )
    database = Database.from_settings(settings)
    try:
        assert database.reads is database.engine
        async with database.reads.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")
            found = await connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements")
            assert found.scalar_one() <= 1  # this one
    finally:
        await database.close()
