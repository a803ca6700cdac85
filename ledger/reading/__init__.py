"""How a user stands: every figure that is told of users, days, rewards and pools. It only reads."""
