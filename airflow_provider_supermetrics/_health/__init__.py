"""The health of connectors, from the manifests of their exports to one HTML page."""
