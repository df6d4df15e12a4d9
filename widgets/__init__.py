"""Drawings: plain values in, terminal cells out. Knows Textual and nothing else of ours."""
