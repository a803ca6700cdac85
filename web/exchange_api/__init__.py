"""The API that existing clients of the exchange speak."""
