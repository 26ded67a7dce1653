"""How processes are found and watched: names, groups of names, monitors."""
