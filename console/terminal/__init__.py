"""The terminal: what it is and can do, and every byte that is sent to it."""
