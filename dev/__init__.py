"""Tools for developing this project; no part of the installed package."""
