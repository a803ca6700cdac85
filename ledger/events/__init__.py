"""Events: what systems outside are told, as they read it."""
