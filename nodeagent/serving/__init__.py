"""Inference over HTTP: the Open Inference Protocol, its routes, and the hop from a node's address to a worker."""
