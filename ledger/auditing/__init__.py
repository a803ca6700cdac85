"""The proof that the books are right: the checks, and what runs them."""
