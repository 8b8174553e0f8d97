"""The connector-logs API without I/O: what to ask, what an answer means, where to ask next.

Nothing here imports Airflow or an HTTP library, reads a clock, sleeps, logs or draws random numbers;
``tests/api/test_purity.py`` proves it.
"""
