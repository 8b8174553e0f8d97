"""List a team's connectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_supermetrics._api.text import counted
from airflow_provider_supermetrics.exceptions import SupermetricsError
from airflow_provider_supermetrics.operators._base import SupermetricsOperator

if TYPE_CHECKING:
    from airflow_provider_supermetrics._compat import Context


class SupermetricsListConnectorsOperator(SupermetricsOperator):
    """
    List the connectors of a team, for ``.expand(connector_identifier=...)``.

    Returns the identifiers, in the API's order.

    :param team_id: the team; by default the Connection's. (templated)
    :param supermetrics_conn_id: :ref:`Supermetrics connection<connection>` to use. (templated)
    :param wait_policy: settings for waiting that replace the Connection's, such as
        ``{"max_inline_wait": 300}``.
    :param deferrable: whether to defer, without occupying a worker slot, while the API requires a wait; by
        default Airflow's ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("team_id", "supermetrics_conn_id")

    def __init__(self, *, team_id: int | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.team_id = team_id

    def execute(self, context: Context) -> list[str]:
        """List the connectors; return their identifiers."""
        return self.execute_complete(context)

    def execute_complete(
        self,
        context: Context,  # noqa: ARG002  # Airflow's call
        event: Any = None,  # noqa: ARG002  # likewise
        waits: int = 0,
    ) -> list[str]:
        """List the connectors, after a deferral.

        :param waits: how many times in a row the task has waited.
        """
        from airflow_provider_supermetrics._client.flows import connector_label

        with self._log_remedy():
            try:
                with self._hook() as hook:
                    connectors = hook.list_connectors(self.team_id)
            except SupermetricsError as error:
                self._defer_or_raise(error, waits + 1, {"waits": waits + 1})
        self.log.info("The credential sees %s", counted(len(connectors), "connector"))
        for connector in connectors:
            self.log.info("%s", connector_label(connector))
        return [connector["connector_identifier"] for connector in connectors]
