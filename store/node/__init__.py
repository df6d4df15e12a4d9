"""The agent's database, node.db, a noun a file. Every function takes the writer's connection, reading ones any."""
