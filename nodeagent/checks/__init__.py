"""The node looks at itself: one small function a check, the same for a console and for a person at the node."""
