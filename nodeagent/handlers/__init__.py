"""The management API, a noun a file: each takes its collaborators and names the routes that it answers."""
