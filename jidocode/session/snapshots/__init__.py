"""What the files of a project were: snapshots of them, what has changed since, and the way back."""
