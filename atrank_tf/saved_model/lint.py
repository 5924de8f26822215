"""Checks of a SavedModel for what TensorFlow Serving cannot run or REST cannot carry, by its `saved_model.pb`."""

import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from atrank_tf.server.json_response import WRITABLE
from atrank_tf.server.json_tensors import READABLE
from atrank_tf.server.loader import TensorInfo, graph_places, read_meta_graph, tensor_info, xla_problems

_DEFAULT = "serving_default"
_INIT_OP = "__saved_model_init_op"

_PYTHON_OPS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})

# Names that Keras makes up for unnamed inputs; `keras_tensor_17` changes with each run.
_MADE_UP_NAME = re.compile(r"(keras_tensor|args)(_\d+)*")


def lint(saved_model_dir: str) -> list[str]:
    """Lists what is wrong with a SavedModel for TensorFlow Serving and its REST API.

    Args:
        saved_model_dir: a folder with `saved_model.pb`.

    Returns:
        One sentence for each problem, in plain words, with what to do; empty for a good export.

    Raises:
        OSError: no readable `saved_model.pb` in there.
        ValueError: no MetaGraph with the tag `serve`.
    """
    meta_graph = read_meta_graph(saved_model_dir)
    return [*_graph_problems(meta_graph.graph_def), *_signature_problems(meta_graph.signature_def)]


def _graph_problems(graph: Any) -> Iterator[str]:
    yield from xla_problems(graph)
    functions = {function.signature.name for function in graph.library.function}
    found: dict[str, str] = {}
    for place, nodes in graph_places(graph):
        for node in nodes:
            found.setdefault(node.op, place)
    for op, place in sorted(found.items()):
        if op in _PYTHON_OPS:
            yield f"Op {op} in {place} calls back into Python, which a server does not have. Use TensorFlow ops only."
        elif op not in functions and not op.startswith(("_", "Xla")) and not hasattr(tf.raw_ops, op):
            yield f"Op {op} in {place} is not one of TensorFlow's own, so a server may not know it."


def _signature_problems(signature_defs: Any) -> Iterator[str]:
    if _DEFAULT not in signature_defs:
        yield (
            f"There is no signature {_DEFAULT!r}, which a request that names none asks for. Found: "
            f"{sorted(set(signature_defs) - {_INIT_OP})}."
        )
    for signature, proto in sorted(signature_defs.items()):
        if signature == _INIT_OP:
            continue
        for name, info in sorted(proto.inputs.items()):
            yield from _input_problems(f"Input {name!r} of signature {signature!r}", name, tensor_info(info))
        for name, info in sorted(proto.outputs.items()):
            yield from _output_problems(f"Output {name!r} of signature {signature!r}", tensor_info(info))


def _input_problems(what: str, name: str, info: TensorInfo) -> Iterator[str]:
    if _MADE_UP_NAME.fullmatch(name):
        yield f"{what} has a name that Keras made up and may change. Name the Input, or give an input_signature."
    if info.dtype not in READABLE:
        yield f"{what} is of dtype {_plain(info.dtype)}, which a JSON request cannot carry."


def _output_problems(what: str, info: TensorInfo) -> Iterator[str]:
    if info.dtype not in WRITABLE:
        yield f"{what} is of dtype {_plain(info.dtype)}, which a JSON response cannot carry. Cast it to float32."
    elif info.shape == ():
        yield f"{what} has no batch dimension, which a row response ('instances') needs. Give it one."


def _plain(dtype: str) -> str:
    return "invalid (a ragged or sparse tensor)" if dtype == "invalid" else dtype
