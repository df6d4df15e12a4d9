"""Kits: everything that an agent needs, in one signed file that travels on a stick."""
