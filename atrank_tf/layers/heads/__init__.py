"""Ranking heads: user vector, candidate and context -> logits."""
