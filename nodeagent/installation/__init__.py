"""Putting an agent on a node and taking it off again, run on the node itself with nothing but a Python.

A console sends this package as one zip and runs `python3 -m nodeagent.installation ZIP`, whose request lies in it.
Standard library only. Each verb may be killed at any moment and run again.
"""
