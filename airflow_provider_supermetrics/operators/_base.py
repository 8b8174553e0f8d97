"""What all operators do alike: hold the Connection, wait without a worker slot, log remedies."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_supermetrics._compat import BaseOperator, conf
from airflow_provider_supermetrics._export.path import path_text, valid_path
from airflow_provider_supermetrics._templates import is_template
from airflow_provider_supermetrics._wait import WaitPolicy, deferral_delay, set_default_retry_policy, utcnow
from airflow_provider_supermetrics.exceptions import SupermetricsError, public_errors
from airflow_provider_supermetrics.provider_info import DEFAULT_CONN_NAME

if TYPE_CHECKING:
    from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsHook


class StorageOperator(BaseOperator):
    """Base class of all operators, which is enough for those without requests to the API: logs remedies."""

    ui_color = "#e8f0fe"

    @contextmanager
    def _log_remedy(self) -> Iterator[None]:
        """Log what to do about an error on a line of its own, so that no log view cuts it off."""
        try:
            yield
        except Exception as error:
            if remedy := getattr(error, "remedy", None):
                self.log.error("%s", remedy[0].upper() + remedy[1:])
            raise


class SupermetricsOperator(StorageOperator):
    """Base class: holds the Connection, waits without occupying a worker slot, and logs remedies."""

    def __init__(
        self,
        *,
        supermetrics_conn_id: str = DEFAULT_CONN_NAME,
        wait_policy: Mapping[str, float] | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supermetrics_conn_id = supermetrics_conn_id
        self.wait_policy = wait_policy
        self.deferrable = deferrable
        with public_errors():
            WaitPolicy().override(wait_policy or {})
        set_default_retry_policy(self)

    def _hook(self) -> SupermetricsHook:
        from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsHook

        return SupermetricsHook(self.supermetrics_conn_id, wait_policy=self.wait_policy)

    def _defer_or_raise(
        self, error: SupermetricsError, waits: int, kwargs: dict[str, Any] | None = None
    ) -> NoReturn:
        """Defer until a retry can succeed; raise the error if the task cannot defer, or that time is unknown.

        :param waits: how many times in a row the task has waited, this time included; at least 1.
        :param kwargs: for ``execute_complete()``; ``dag.test()`` does not pass them.
        """
        seconds = deferral_delay(error, waits=waits, jitter=random.random())
        if seconds is None or not self.deferrable:
            raise error
        self.log.warning("%s", error)
        self.log.info(
            "Waiting until %s (%.0f s), without a worker slot",
            (utcnow() + timedelta(seconds=seconds)).isoformat(timespec="seconds"),
            seconds,
        )
        self._defer(seconds, kwargs)

    def _defer(self, seconds: float, kwargs: dict[str, Any] | None = None) -> NoReturn:
        from airflow.providers.common.compat.standard.triggers import TimeDeltaTrigger

        trigger = TimeDeltaTrigger(timedelta(seconds=seconds))
        self.defer(trigger=trigger, method_name="execute_complete", kwargs=kwargs)


def path_or_template(path: Any) -> Any:
    """Return the path as a string, checked unless it is a template, or another task's output unchanged."""
    if hasattr(path, "iter_references"):
        return path
    text = path_text(path)
    return text if is_template(text) else valid_path(text)
