"""The fleet: a watch a node, what is known of each at one moment, and how it is judged. Drawing is elsewhere."""
