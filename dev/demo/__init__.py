"""Run the example DAGs in a real Airflow against the simulated API. The demo writes to `.demo` only."""
