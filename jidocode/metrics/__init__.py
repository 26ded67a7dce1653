"""What a system does, for Prometheus and OpenTelemetry: needs the extra `jidocode[metrics]`."""
