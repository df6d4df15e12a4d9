"""What the node keeps: its folder, its database in one thread, its log, and who it is."""
