"""The account holder's pages, and what programs speak over HTTP."""
