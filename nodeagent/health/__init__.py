"""How the node does: host figures, telemetry, trends, and the alerts that a person has to see."""
