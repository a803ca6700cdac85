"""The API for product services."""
