"""Pacing of requests: polling, concurrency and throttling."""
