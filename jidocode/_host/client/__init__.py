"""How the app talks to its processes: calls, monitors, and what it knows of the tree."""
