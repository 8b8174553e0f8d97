"""Export the hours before the demo, so that the health page has something to show, a missing hour included.

python -m dev.demo.fill FOLDER HOURS
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone

from airflow_provider_supermetrics.hooks.supermetrics import SupermetricsHook
from airflow_provider_supermetrics.operators.supermetrics import export_logs

_HOUR = timedelta(hours=1)
# The hour that the second connector lacks, counted back from now.
_MISSING = 20


def main() -> None:
    """Export each hour of all connectors, but the last one, which the example DAGs export."""
    folder, hours = sys.argv[1], int(sys.argv[2])
    now = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    with SupermetricsHook() as hook:
        connectors = [each["connector_identifier"] for each in hook.list_connectors()]
        for number, connector in enumerate(connectors):
            for back in range(hours, 1, -1):
                if (number, back) != (1, _MISSING):
                    start = now - back * _HOUR
                    export_logs(hook, connector, folder, start=start, end=start + _HOUR)


if __name__ == "__main__":
    main()
