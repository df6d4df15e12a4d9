"""A machined face in front of a camera."""
