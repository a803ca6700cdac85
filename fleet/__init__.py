"""Worker processes: what one takes on at once, and how several are kept running, watched and stopped."""
