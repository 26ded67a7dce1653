"""How a process of the same user is let into a system that another one has started."""
