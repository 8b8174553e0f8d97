"""Exports and alerts for a chosen time, with random faults of the API, the stores and the workers."""
