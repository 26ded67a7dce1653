"""The app's end of a system: its calls, its monitors, and what it knows of the tree."""
