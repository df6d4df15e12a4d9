"""The shift report: what is asked of nodes, what it means, and the forms in which a person reads it."""
