"""Both hooks have the same methods and properties."""

from __future__ import annotations

import inspect

import pytest

from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsAsyncHook, SupermetricsHook

pytestmark = pytest.mark.airflow_2

METHODS = [
    "list_logs",
    "iter_logs",
    "read_pages",
    "get_log",
    "list_connectors",
    "resolve_team_id",
    "test_connection",
    "close",
]


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_same_methods_with_the_same_arguments(name: str) -> None:
    """What one hook offers the other does, under the same names and with the same defaults."""
    one, other = (
        inspect.signature(getattr(hook, name)) for hook in (SupermetricsHook, SupermetricsAsyncHook)
    )
    assert list(one.parameters.values()) == list(other.parameters.values())


@pytest.mark.parametrize("name", ["rate_limit", "requests_sent"])
def test_same_properties(name: str) -> None:
    """The facts of the latest responses are read in the same way."""
    assert all(
        isinstance(getattr(hook, name), property) for hook in (SupermetricsHook, SupermetricsAsyncHook)
    )
