"""A project folder: where it is, the boundary that nothing leaves, and its files."""
