"""The daily loop and its messages; beside it the typed client that sends them."""
