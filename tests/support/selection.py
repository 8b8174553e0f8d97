"""Which tests `make test` leaves to `make test-all`, and how many examples Hypothesis makes up."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Final

#: Modules, or tests of them, that take long or need programs from outside of Python.
FULL: Final = (
    "tests/components/test_export_waiting.py::test_complete_or_failed",
    "tests/components/test_kill.py",
    "tests/components/test_large_export.py",
    "tests/e2e/test_alerts.py",
    "tests/e2e/test_backfill.py",
    "tests/e2e/test_daily_rollup.py",
    "tests/e2e/test_example_dags.py::test_examples_export_the_last_hour",
    "tests/e2e/test_example_dags.py::test_alert_reports_each_error_once",
    "tests/e2e/test_example_dags.py::test_quality_gate_skips_after_errors",
    "tests/e2e/test_health_page.py",
    "tests/e2e/test_example_dags.py::test_quality_gate_lets_pass",
    "tests/e2e/test_example_dags.py::test_a_check_that_fails_has_a_result",
    "tests/e2e/test_partitions.py",
    "tests/e2e/test_services.py",
    "tests/e2e/test_since_last_run.py",
    "tests/e2e/test_stores.py",
    "tests/e2e/test_waiting.py",
    "tests/soak/test_soak.py",
    "tests/storage/test_faults.py::test_a_large_object_appears_at_the_end",
    "tests/storage/test_faults.py::test_a_large_object_that_is_denied",
    "tests/storage/test_faults.py::test_a_large_object_that_is_not_finished",
    "tests/storage/test_faults.py::test_a_large_object_through_faults",
    "tests/storage/test_stores_and_formats.py",
)
#: Stores whose emulators only `make test-all` starts; Azure's needs Node.js.
FULL_STORES: Final = frozenset({"azure", "gcs"})

#: The most examples of a property. `make test-all` and `dev.mutants` set it.
_MAX_EXAMPLES: Final = int(os.environ.get("MAX_EXAMPLES", "100"))


def is_full(node_id: str, parameters: Collection[object]) -> bool:
    """Whether a test, with these values of its parameters, is left to `make test-all`."""
    test = node_id.partition("[")[0]
    return any(test == name or test.startswith(f"{name}::") for name in FULL) or any(
        isinstance(value, str) and value in FULL_STORES for value in parameters
    )


def examples(full: int) -> int:
    """How many examples a property gets that gets `full` of them in `make test-all`."""
    return min(full, _MAX_EXAMPLES)
