"""What another system says that users hold, compared with what counts here."""
