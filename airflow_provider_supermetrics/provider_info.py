"""The provider's metadata, which Airflow reads through the entry point ``apache_airflow_provider``."""

from __future__ import annotations

from typing import Any

from airflow_provider_supermetrics import __version__

__all__ = ["get_provider_info"]

DEFAULT_CONN_NAME = "supermetrics_default"

_ASSET_URIS: list[dict[str, Any]] = [
    {
        "schemes": ["supermetrics"],
        "handler": "airflow_provider_supermetrics._assets.sanitize_uri",
        "factory": "airflow_provider_supermetrics._assets.create_asset",
        "to_openlineage_converter": "airflow_provider_supermetrics._assets.convert_asset_to_openlineage",
    }
]

#: How many days the page about the connectors' health shows: by default, and at most.
DEFAULT_HEALTH_DAYS = 30
MOST_HEALTH_DAYS = 400

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
        **{
            kind: [
                {
                    "integration-name": "Supermetrics",
                    "python-modules": [f"airflow_provider_supermetrics.{kind}.supermetrics"],
                }
            ]
            for kind in ("hooks", "operators", "sensors", "triggers")
        },
        "connection-types": [
            {
                "connection-type": "supermetrics",
                "hook-class-name": "airflow_provider_supermetrics.hooks.supermetrics.SupermetricsHook",
                "hook-name": "Supermetrics",
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": CONNECTION_FIELDS,
            }
        ],
        "config": {
            "supermetrics": {
                "description": "The page about the health of Supermetrics connectors in Airflow's UI.",
                "options": {
                    "health_paths": {
                        "description": (
                            "Paths of exports that the page shows, separated by commas or line breaks: URLs "
                            "as the export operator's ``path``. Without any, there is no page."
                        ),
                        "version_added": __version__,
                        "type": "string",
                        "example": "s3://aws_default@my-bucket/supermetrics-logs",
                        "default": "",
                    },
                    "health_days": {
                        "description": f"How many days the page shows, from 1 to {MOST_HEALTH_DAYS}.",
                        "version_added": __version__,
                        "type": "integer",
                        "example": None,
                        "default": str(DEFAULT_HEALTH_DAYS),
                    },
                },
            }
        },
        "extra-links": [
            f"airflow_provider_supermetrics.links.supermetrics.{name}"
            for name in (
                "SupermetricsExportFolderLink",
                "SupermetricsHealthReportLink",
                "SupermetricsManifestLink",
            )
        ],
        "asset-uris": _ASSET_URIS,
        "dataset-uris": _ASSET_URIS,  # Airflow 2's name of the same
    }


def connection_form_widgets() -> dict[str, Any]:
    """Form fields for Airflow before 3.2, which builds the form with wtforms (absent elsewhere)."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from wtforms import StringField
    from wtforms.validators import Optional

    return {
        name: StringField(
            field["label"],
            description=field["description"],
            widget=BS3TextFieldWidget(),
            validators=[Optional()],
        )
        for name, field in CONNECTION_FIELDS.items()
    }


def ui_field_behaviour() -> dict[str, Any]:
    """Hidden fields, labels and placeholders, under the names that Airflow before 3.2 gives them."""
    return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}
