"""Who is let in: how many sessions, how often, and one for each project."""
