"""The server process: services, transports, health, and the life of all of it."""
