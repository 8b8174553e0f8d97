"""A window of logs as objects in storage: what it is, how it is written, how its end is told. No HTTP."""
