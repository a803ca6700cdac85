"""How a user stands: every figure that is shown of users, days, rewards and pools. This room only reads."""
