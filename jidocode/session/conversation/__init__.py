"""What was said and done in a session, as changes and what they add up to."""
