"""How processes are kept alive: specs, strategies, the life of a child, supervisors."""
