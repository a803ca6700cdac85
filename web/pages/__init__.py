"""The account holder's pages."""
