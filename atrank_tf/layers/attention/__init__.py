"""Attention in semantic spaces, what each query may see, and time in its scores."""
