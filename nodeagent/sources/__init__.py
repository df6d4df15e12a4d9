"""Where frames come from: one file a connector, one supervisor a connection."""
