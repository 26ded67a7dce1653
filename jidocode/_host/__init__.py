"""Where the machines of `otp` run: processes, sockets and signals, on Thespian."""
