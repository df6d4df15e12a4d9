"""The agent on a node: takes plant data in, runs models, records, and protects the node."""
