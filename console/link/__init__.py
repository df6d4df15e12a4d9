"""The way to a node: SSH through jump hosts, host keys, and HTTP inside the connection."""
