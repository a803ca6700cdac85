"""The daily loop, its messages, and what a run shows of itself: only what is safe in the workflow sandbox."""
