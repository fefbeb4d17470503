"""OpenTelemetry, as FastAPI has it built in: off, unless it is asked for."""

from importlib.util import find_spec

from fastapi.telemetry import TelemetryConfig


def telemetry_config(*, enabled: bool) -> TelemetryConfig:
    """Return what FastAPI traces and measures, and whether it sends it where `OTEL_*` says.

    Spans cost a tenth of a request, also while nobody collects them. Logs are never sent: they go
    to standard error, and FastAPI's would hold the messages of exceptions.
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
