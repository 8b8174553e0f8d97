"""The example DAGs in a real Airflow, against the simulated API. Everything it writes is in `.demo`."""
