"""The provider's metadata, which Airflow reads through the entry point ``apache_airflow_provider``."""

from __future__ import annotations

from typing import Any

from airflow_provider_supermetrics import __version__

__all__ = ["get_provider_info"]

#: Fields of the Connection form besides Airflow's own. Nullable, or the form would require them. The team
#: is a string: the form's number field turns what is no number into 1, and the mouse wheel changes it.
CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "team_id": {
        "label": "Team ID",
        "description": (
            "Number of the Supermetrics team, such as 936506. Leave empty if each task passes its own."
        ),
        "schema": {"type": ["string", "null"]},
    },
    "timeout": {
        "label": "Timeout (seconds)",
        "description": "Connect and read timeout. Default: 60.",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 3600},
    },
}

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["schema", "port", "login"],
    "relabeling": {"host": "API URL", "password": "API key or access token"},
    "placeholders": {
        "host": "https://api.supermetrics.com (default)",
        "password": "the bare key, created in the Supermetrics Hub",
        "extra": '{"proxies": {"https": "http://proxy:3128"}, "verify": true, "cert": null, "headers": {}}',
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata."""
    return {
        "package-name": "airflow-provider-supermetrics",
        "name": "Supermetrics",
        "description": (
            "Exports the logs of `Supermetrics <https://supermetrics.com/>`__ connectors, alerts on errors."
        ),
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "Supermetrics",
                "external-doc-url": "https://docs.supermetrics.com/",
                "tags": ["service"],
            }
        ],
        "hooks": [
            {
                "integration-name": "Supermetrics",
                "python-modules": ["airflow_provider_supermetrics.hooks.supermetrics"],
            }
        ],
        "operators": [
            {
                "integration-name": "Supermetrics",
                "python-modules": ["airflow_provider_supermetrics.operators.supermetrics"],
            }
        ],
        "sensors": [
            {
                "integration-name": "Supermetrics",
                "python-modules": ["airflow_provider_supermetrics.sensors.supermetrics"],
            }
        ],
        "triggers": [
            {
                "integration-name": "Supermetrics",
                "python-modules": ["airflow_provider_supermetrics.triggers.supermetrics"],
            }
        ],
        "connection-types": [
            {
                "connection-type": "supermetrics",
                "hook-class-name": "airflow_provider_supermetrics.hooks.supermetrics.SupermetricsHook",
                "hook-name": "Supermetrics",
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": CONNECTION_FIELDS,
            }
        ],
    }
