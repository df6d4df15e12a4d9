"""Nodes' ledgers at the console: visited, verified, copied between consoles, read as of a moment."""
