"""Which versions are served, and a version in memory."""
