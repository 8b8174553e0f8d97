"""What the export costs, and what it gets right, compared with the usual ways; `make bench`."""
