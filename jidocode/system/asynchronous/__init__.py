"""A system for coroutines, on asyncio or trio: the services of the sync one, awaited."""
