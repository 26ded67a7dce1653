"""How processes are found and watched: names and monitors."""
