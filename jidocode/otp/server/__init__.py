"""How a single process works: the class to write, and the machine that drives it."""
