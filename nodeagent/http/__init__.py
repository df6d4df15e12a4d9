"""Our HTTP server: a protocol on httptools with the limits of a real server, and nothing of what is served."""
