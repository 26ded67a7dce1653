"""Who is let in: how many sessions, how often, one for each project; and the names of all."""
