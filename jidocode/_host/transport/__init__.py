"""How messages travel between our processes: authenticated frames over loopback sockets."""
