import ssl
from pathlib import Path

import pytest

from app.core.database_url import parse_database_url


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:p@host/db",
        "postgresql://u:p@host/db",
        "postgresql+asyncpg://u:p@host/db",
        " postgresql://u:p@host/db\n",
    ],
)
def test_url_schemes_of_hosting_platforms_are_accepted(url: str) -> None:
    assert parse_database_url(url).dsn == "postgresql://u:p@host/db"


def test_libpq_parameters_are_passed_to_the_driver() -> None:
    query = "application_name=app&options=endpoint%3Dep-1&target_session_attrs=read-write"
    address = parse_database_url(f"postgresql://u:p@one:5432,two:5433/db?{query}&sslmode=require")

    assert address.dsn == f"postgresql://u:p@one:5432,two:5433/db?{query}&sslmode=require"
    assert address.tls is None


@pytest.mark.parametrize(("text", "seconds"), [("7", 7.0), ("0", None), ("", None)])
def test_connect_timeout_is_removed_from_the_url(text: str, seconds: float | None) -> None:
    address = parse_database_url(f"postgresql://host/db?connect_timeout={text}")

    assert address.connect_timeout == seconds
    assert address.dsn == "postgresql://host/db"


def test_verify_full_checks_the_certificate_and_the_host_name() -> None:
    tls = parse_database_url("postgresql://host/db?sslmode=verify-full").tls

    assert tls is not None
    assert tls.check_hostname
    assert tls.verify_mode is ssl.CERT_REQUIRED


def test_verify_ca_does_not_check_the_host_name() -> None:
    tls = parse_database_url("postgresql://host/db?sslmode=verify-ca&sslrootcert=system").tls

    assert tls is not None
    assert tls.check_hostname  # with "system", nothing weaker than verify-full is possible
    tls = parse_database_url("postgresql://host/db?sslmode=verify-ca").tls
    assert tls is not None
    assert not tls.check_hostname
    assert tls.verify_mode is ssl.CERT_REQUIRED


def test_channel_binding_is_replaced_by_a_verified_certificate() -> None:
    url = "postgresql://u:p@ep-1.neon.tech/db?sslmode=require&channel_binding=require"
    address = parse_database_url(url)

    assert address.tls is not None
    assert address.tls.check_hostname
    assert address.dsn == "postgresql://u:p@ep-1.neon.tech/db"
    assert address.note is not None


def test_preferred_channel_binding_is_ignored() -> None:
    address = parse_database_url("postgresql://host/db?channel_binding=prefer")

    assert (address.tls, address.note) == (None, None)


@pytest.mark.parametrize(
    ("url", "pooler", "pooled"),
    [
        ("postgresql://ep-1-pooler.neon.tech/db", None, True),
        ("postgresql://ep-1.neon.tech/db", None, False),
        ("postgresql://ep-1.neon.tech/db", True, True),
        ("postgresql://ep-1-pooler.neon.tech/db", False, False),
    ],
)
def test_pooler_is_detected_by_its_host_name_or_the_setting(
    url: str, pooler: bool | None, pooled: bool
) -> None:
    assert parse_database_url(url, pooler=pooler).pooled is pooled


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "must begin with"),
        ("localhost/db", "must begin with"),
        ("mysql://host/db", "must begin with"),
        ("postgresql://u:s3cret/word@host/db", "percent-encode"),
        ("postgresql://u:p@[::1/db", "not a URL"),
        ("postgresql://host/db?sslmode", "not a URL"),
        ("postgresql://host/db?sslmode=maybe", "unknown sslmode"),
        ("postgresql://host/db?connect_timeout=soon", "connect_timeout"),
        ("postgresql://host/db?statement_cache_size=0", "'statement_cache_size'"),
        ("postgresql://host/db?sslmode=verify-full&sslrootcert=/nowhere", "can't be read"),
        ("postgresql://host/db?sslmode=verify-full&sslcert=/nowhere", "can't be read"),
    ],
)
def test_invalid_url_is_explained_without_secrets(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_database_url(url)
    assert "s3cret" not in str(caught.value)


def test_file_of_certificate_authorities_is_loaded(tmp_path: Path) -> None:
    paths = ssl.get_default_verify_paths()
    bundle = tmp_path / "root.crt"
    bundle.write_bytes(Path(paths.cafile or "/etc/ssl/certs/ca-certificates.crt").read_bytes())

    address = parse_database_url(f"postgresql://host/db?sslmode=verify-full&sslrootcert={bundle}")

    assert address.tls is not None
    assert address.tls.cert_store_stats()["x509_ca"] > 0


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://u:hunter2@db.example.com:5433/x", "DATABASE_URL (db.example.com:5433)"),
        ("postgresql://u:hunter2@one:1,two:2/x", "DATABASE_URL (one:1,two:2)"),
        ("postgresql://u:hunter2@[::1]:5432/x", "DATABASE_URL ([::1]:5432)"),
        ("postgresql://u@/x?host=/tmp/run&port=5433", "DATABASE_URL (/tmp/run:5433)"),
        ("postgresql:///x", "DATABASE_URL (localhost)"),
        ("postgresql://u:123/hunter2@db.example.com/x", "DATABASE_URL (u)"),
    ],
)
def test_errors_name_the_setting_and_the_host_without_secrets(url: str, place: str) -> None:
    assert parse_database_url(url).place == place
    assert parse_database_url(url, setting="OTHER").place == place.replace("DATABASE_URL", "OTHER")
