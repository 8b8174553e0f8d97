"""The retry policy: delays by error, settings and defaults."""

from __future__ import annotations

import importlib
import sys
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import (
    SupermetricsConflictError,
    SupermetricsConnectionError,
    SupermetricsError,
    SupermetricsPaginationError,
    SupermetricsRateLimitError,
    SupermetricsRequestError,
    SupermetricsResponseError,
    SupermetricsServerError,
    SupermetricsTokenError,
)
from airflow_provider_supermetrics.operators.supermetrics import (
    SupermetricsExportLogsOperator,
    SupermetricsListConnectorsOperator,
)
from tests.support.compat import DAG, AirflowOptionalProviderFeatureException
from tests.support.release import RELEASE

MODULE = "airflow_provider_supermetrics.retry_policies.supermetrics"
HAS_POLICIES = RELEASE >= (3, 3)
needs_policies = pytest.mark.skipif(not HAS_POLICIES, reason="retry policies came with Airflow 3.3")
MINUTE = timedelta(minutes=1)


def policy(**arguments: Any) -> Any:
    """Return a policy. The import is in the function because older Airflow versions refuse it."""
    return importlib.import_module(MODULE).SupermetricsRetryPolicy(**arguments)


@pytest.mark.airflow_2
@pytest.mark.skipif(HAS_POLICIES, reason="here the import works")
def test_older_airflow_says_what_to_do_instead() -> None:
    """On older Airflow the import fails with a message, and operators work without the policy."""
    sys.modules.pop(MODULE, None)
    with pytest.raises(AirflowOptionalProviderFeatureException, match=r"Airflow 3\.3.*deferrable=True"):
        importlib.import_module(MODULE)
    assert not hasattr(SupermetricsListConnectorsOperator(task_id="t"), "retry_policy")


@needs_policies
@pytest.mark.parametrize(
    ("error", "try_number", "shortest", "longest"),
    [
        (SupermetricsRateLimitError(retry_after=3600), 1, 3600, 3660),
        (SupermetricsRateLimitError(retry_after=86400), 5, 86400, 86460),
        (SupermetricsRateLimitError(retry_after=1), 1, 15, 20),
        (SupermetricsRateLimitError(), 1, 300, 315),
        (SupermetricsRateLimitError(), 3, 1200, 1260),
        (SupermetricsServerError(retry_after=700), 1, 700, 735),
        (SupermetricsServerError(), 1, 60, 66),
        (SupermetricsConnectionError(), 3, 240, 264),
        (SupermetricsTokenError(status_code=401), 1, 60, 66),
        (SupermetricsServerError(), 2000, 1800, 1980),
    ],
    ids=repr,
)
def test_delays(error: SupermetricsError, try_number: int, shortest: float, longest: float) -> None:
    """The delay is the Retry-After or else grows with each attempt, and always has jitter."""
    decision = policy().evaluate(error, try_number, 3)
    assert decision.action.name == "RETRY"
    assert shortest <= decision.retry_delay.total_seconds() <= longest
    assert type(error).__name__ in decision.reason


@needs_policies
@pytest.mark.parametrize(
    "error",
    [
        SupermetricsRequestError(status_code=401),
        SupermetricsPaginationError(),
        SupermetricsRateLimitError(retry_after=90_000),
        SupermetricsRateLimitError(retry_after=1e15),
    ],
    ids=repr,
)
def test_errors_that_no_retry_resolves(error: SupermetricsError) -> None:
    """The task fails at once."""
    assert policy().evaluate(error, 1, 3).action.name == "FAIL"


@needs_policies
@pytest.mark.parametrize(
    "error",
    [SupermetricsResponseError(), SupermetricsConflictError(), OSError(), KeyError("x")],
    ids=repr,
)
def test_what_is_left_to_the_task(error: Exception) -> None:
    """For other errors, the task's own retry_delay is used."""
    assert policy().evaluate(error, 1, 3).action.name == "DEFAULT"


@needs_policies
def test_settings() -> None:
    """The policy has settings for patience and backoff."""
    impatient = policy(max_delay=timedelta(hours=1))
    assert impatient.evaluate(SupermetricsRateLimitError(retry_after=7200), 1, 3).action.name == "FAIL"
    assert policy(backoff_initial=None).evaluate(SupermetricsServerError(), 1, 3).action.name == "DEFAULT"
    slow = policy(backoff_initial=10 * MINUTE, backoff_max=15 * MINUTE)
    assert slow.evaluate(SupermetricsServerError(), 2, 3).retry_delay >= 15 * MINUTE


@needs_policies
def test_operators_have_it_by_default() -> None:
    """Operators have the policy by default, unless the task or its DAG sets another."""
    own = policy()
    export = {"connector_identifier": "A", "path": "file:///x"}
    for task in (
        SupermetricsListConnectorsOperator(task_id="t"),
        SupermetricsExportLogsOperator(task_id="e", **export),
    ):
        assert type(task.retry_policy) is type(own)
        assert task.retry_policy.backoff_initial is None, (
            "the task's retry_delay counts where nothing was named"
        )
    assert SupermetricsListConnectorsOperator(task_id="t", retry_policy=own).retry_policy is own
    with DAG("d", default_args={"retry_policy": own}):
        assert SupermetricsExportLogsOperator(task_id="e", **export).retry_policy is own
    with DAG("m"):
        mapped = SupermetricsExportLogsOperator.partial(task_id="e", path="file:///x").expand(
            connector_identifier=["A", "B"]
        )
        unmapped = mapped.unmap({"connector_identifier": "A"})
    assert type(unmapped.retry_policy) is type(own)
