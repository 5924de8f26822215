"""An experiment file whose training takes seconds."""

EXPERIMENT = """
[model]
name = "atrank"
tasks = ["next_purchase"]
hidden_dim = 8
num_spaces = 2
intermediate_dim = 8
hidden_units = [8]
dropout = 0.3

[training]
epochs = 3
"""
