"""How messages travel between the processes of a system: authenticated, over loopback sockets."""
