"""What an exchange's own systems send by themselves: movements, and how far a source is complete."""
