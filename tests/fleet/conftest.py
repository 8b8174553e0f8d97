"""Leave these tests out where their environment is not: `make test-fleet` has one of its own."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("celery") else ["test_fleet.py"]
