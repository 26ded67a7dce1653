"""The processes that belong to nobody else: the guard, and the host that forks all others."""
