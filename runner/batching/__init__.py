"""Batches: which calls run together, and when. Knows nothing of messages, links or the wire's bytes."""
