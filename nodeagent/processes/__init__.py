"""The launcher and what it passes on: sockets, children, limits, deadlines. The standard library only."""
