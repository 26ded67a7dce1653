"""Programs that run for a session, and never outlive it."""
