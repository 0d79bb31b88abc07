"""Deciding which calls are taken, and which replica runs them when. Pure: no clock, no loop, no socket."""
