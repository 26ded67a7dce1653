"""One actor's process: what runs a server or a supervisor in it, from fork to exit."""
