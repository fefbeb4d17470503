"""The configuration of FastAPI's built-in OpenTelemetry support, which is off by default."""

from importlib.util import find_spec

from fastapi.telemetry import TelemetryConfig


def telemetry_config(*, enabled: bool) -> TelemetryConfig:
    """Return what FastAPI traces and measures, and whether it sends the data as `OTEL_*` says.

    Spans take a tenth of a request's time, even if nothing collects them. Logs are never sent: they
    go to standard error, and FastAPI's logs would contain the messages of exceptions.
    """
    return {
        "tracing": enabled,
        "operation_spans": enabled,
        "metrics": enabled,
        "logs": False,
        "auto_configure": enabled,
    }


def can_export() -> bool:
    """Return whether the packages of the dependency group `telemetry` are installed."""
    return all(find_spec(f"opentelemetry.{name}") for name in ("sdk", "exporter"))
