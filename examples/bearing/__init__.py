"""A bearing that a vibration sensor listens to."""
