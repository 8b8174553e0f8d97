"""The Connection form for Airflow before 3.2, from the description in ``provider_info``."""

from __future__ import annotations

from typing import Any

from airflow_provider_supermetrics.provider_info import CONNECTION_FIELDS, UI_FIELD_BEHAVIOUR


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
    return {
        "hidden_fields": UI_FIELD_BEHAVIOUR["hidden-fields"],
        "relabeling": UI_FIELD_BEHAVIOUR["relabeling"],
        "placeholders": UI_FIELD_BEHAVIOUR["placeholders"],
    }
