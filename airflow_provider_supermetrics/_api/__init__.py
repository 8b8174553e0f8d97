"""The connector-logs API without I/O: what to request, what a response means, which page is next.

Nothing here imports Airflow or an HTTP library, reads a clock, sleeps, logs or draws random numbers;
``tests/api/test_purity.py`` proves it.
"""
