"""Models that ATRank is compared with, behind the same inputs, heads and exports."""
