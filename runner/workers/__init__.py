"""Replicas of the model in processes of their own, and the link to them."""
