"""Exports: a window of a connector's log as objects in storage. No HTTP."""
