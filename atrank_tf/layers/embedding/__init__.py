"""Embedding tables, catalogs and features -> embeddings of behaviors and candidates."""
