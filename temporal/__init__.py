"""The outside of Temporal: connection, encryption, the typed client, what a server must know and can find."""
