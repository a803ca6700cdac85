"""What systems of the exchange send without being asked: movements, and up to which instant a source has sent
everything."""
