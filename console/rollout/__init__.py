"""One bundle to many nodes: planned once, then carried out in waves that a console may be killed in at any step."""
