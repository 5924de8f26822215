"""The networks that `[model] ranking` may name beside "dot", "repeat" and "popularity": they read the context, too."""

from collections.abc import Callable
from typing import Any

from atrank_tf.layers import DCNHead, DNNHead, FMHead, PNNHead, WideHead

RANKING_NETWORKS: dict[str, Callable[[Any, str], Any]] = {
    "dnn": lambda config, name: DNNHead(config.hidden, config.dropout, name=name),
    "wide": lambda config, name: WideHead(name=name),
    "fm": lambda config, name: FMHead(name=name),
    "pnn": lambda config, name: PNNHead(config.hidden, config.dropout, name=name),
    "dcn": lambda config, name: DCNHead(config.cross_layers, name=name),
}
"""Name -> a function (a model's config, name of the layer) -> a layer (read-out [B, N, D], candidates [B, N, D],
context [B, N, D_c] or None) -> logits [B, N]. A new network is a layer, and a line here."""
