"""Bringing an agent to a node over the link alone: look first, say what will be done, copy, install, start, prove."""
