"""Who asks: sessions, tokens, keys and signatures, addresses, and how often one may ask."""
