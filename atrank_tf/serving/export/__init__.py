"""A trained model -> a version folder that a server can run, and what it can be asked."""
