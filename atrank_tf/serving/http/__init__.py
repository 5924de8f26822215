"""The embedded server, and a client of either server."""
