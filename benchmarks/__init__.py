"""What the export costs, and what it gets right, beside the usual ways; `make bench`."""
