"""Words of every layer: why a process ended, which one is meant, records, text fit to be shown."""
