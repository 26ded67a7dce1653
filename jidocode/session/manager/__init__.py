"""The process that holds the project's files, and its client."""
