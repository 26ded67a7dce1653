"""Which servers are asked directly, whatever the environment says of proxies."""

HERE = ("all://localhost", "all://127.0.0.1", "all://[::1]")
"""As the mounts of an HTTP client: no proxy of another machine can reach what is on this one."""
