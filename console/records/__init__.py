"""Records of nodes at the console: asked for, labelled, exported as data sets."""
