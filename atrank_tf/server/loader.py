"""Loader of SavedModels, which runs their signatures through the C++ path that TensorFlow Serving takes.

The graph is restored into a `Session`, and a signature is one `Session.run` on the tensor names of its SignatureDef.
`tf.saved_model.load` is another loader, which hides faults that a server would meet.
"""

import dataclasses
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2, saved_model_pb2

from atrank_tf.server.errors import Code, ServingError, invalid, kernel_text, shown, without_stack
from atrank_tf.server.limits import read_limited_inputs
from atrank_tf.server.version_checksums import compare_checksums

SERVE_TAG = "serve"

# The op that fills tables: TensorFlow 2 lists it as a signature, TensorFlow 1 in a collection.
_INIT = "__saved_model_init_op"
_INIT_OF_VERSION_1 = ("saved_model_main_op", "legacy_init_op")

_CLOSED = "The model is not loaded any more."

# Most characters of a kernel's text: it may quote a whole Example.
_KERNEL_TEXT = 1500


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """One input or output of a signature.

    Attributes:
        tensor: str. Name of the tensor in the graph, such as `serving_default_now:0`; empty for a ragged or sparse one.
        dtype: str, as `tensorflow::DataTypeString` spells it: `int64`, `float`, `string`, `half`, `invalid`, ...
        shape: dimensions, None where any size will do; None instead of a tuple for an unknown rank.
    """

    tensor: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclasses.dataclass(frozen=True)
class Signature:
    """One signature of a SavedModel: name -> `TensorInfo` of its inputs and of its outputs, in alphabetical order."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


class LoadedModel:
    """SavedModel in memory, ready to run. Any number of threads may call `run` at once.

    ```python
    model = load("export/market/1")
    scores = model.run("serving_default", {"now": np.array([1700000000]), ...})["scores"]
    model.close()
    ```

    Attributes:
        signatures: name -> `Signature`, of every signature of the MetaGraph with the tag `serve`.
        signature_defs: name -> SignatureDef proto, as stored.
        limited_inputs: which inputs a server limits, as the export says.

    Args:
        saved_model_dir: a folder with `saved_model.pb`.
        timeout_ms: longest run of a signature. Defaults to 0: no limit.
        require_checksums: whether a folder must have checksums. Defaults to False: they are compared where there are.

    Raises:
        OSError: no readable `saved_model.pb` in there.
        ValueError: no MetaGraph with the tag `serve`, no variables where the graph has some, or a graph that needs XLA;
            or a file is not the one that the export wrote, where the folder has checksums.
        tf.errors.OpError: the variables or tables cannot be restored.
    """

    def __init__(self, saved_model_dir: str, *, timeout_ms: int = 0, require_checksums: bool = False) -> None:
        compare_checksums(saved_model_dir, required=require_checksums)
        self.limited_inputs = read_limited_inputs(saved_model_dir)
        meta_graph = read_meta_graph(saved_model_dir)
        problem = next(xla_problems(meta_graph.graph_def), None)
        if problem:
            raise ValueError(f"Expected a graph that TensorFlow Serving runs in {saved_model_dir}. {problem}")
        self.signature_defs: dict[str, Any] = dict(meta_graph.signature_def)
        self.signatures = {name: _signature(proto) for name, proto in sorted(self.signature_defs.items())}
        self._timeout_ms = timeout_ms
        self._closed = False
        self._callables: dict[tuple[str, ...], Any] = {}
        self._making = threading.Lock()
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=_session_config())
        try:
            with graph.as_default():
                # `Session.run` compares what is fed with the placeholder's shape, C++ does not: by contract the graph
                # decides. So each signature input is fed through a placeholder of its own that takes any shape.
                fed: dict[str, Any] = {
                    info.tensor: tf.compat.v1.placeholder(proto_dtype(info.dtype), shape=None)
                    for signature in self.signatures.values()
                    for info in signature.inputs.values()
                    if info.tensor
                }
                _restore(self._session, meta_graph, saved_model_dir, fed)
            self._feeds = {name: tensor.name for name, tensor in fed.items()}
            # The session has a graph of its own in C++. This one, a tangle of references that waits for the garbage
            # collector, would be most of the memory that a version takes: 27 MB of a ranker with 3 MB of weights.
            graph.Dismantle()
        except BaseException:
            self._session.close()
            raise

    def signature(self, name: str) -> Signature:
        """Returns the signature of this name.

        Raises:
            ServingError: INVALID_ARGUMENT, `Serving signature name: "<name>" not found in signature def`.
        """
        if name not in self.signatures:
            message = f'Serving signature name: "{shown(name)}" not found in signature def'
            raise invalid(message)
        return self.signatures[name]

    def run(self, signature_name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Runs one signature.

        Args:
            signature_name: key of `signatures`.
            inputs: name -> array for exactly the inputs of the signature, of their dtypes; strings as object arrays of
                bytes or str. Shapes are the graph's business.

        Returns:
            name -> array of each output; strings are object arrays of bytes.

        Raises:
            ServingError: INVALID_ARGUMENT for an unknown signature, other names or dtypes than the signature's, or one
                with ragged or sparse tensors; what a kernel refuses has the kernel's code and text; DEADLINE_EXCEEDED
                for a run that takes longer than `timeout_ms`; UNAVAILABLE after `close`.
        """
        signature = self.signature(signature_name)
        if not _is_dense(signature):
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Signature {signature_name!r} has inputs or outputs that are not dense tensors, which a predict call "
                "cannot carry.",
            )
        if set(inputs) != set(signature.inputs):
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Expected inputs {sorted(signature.inputs)} for signature {signature_name!r}. "
                f"Received: {sorted(inputs)}.",
            )
        for name, info in signature.inputs.items():
            _check_dtype(name, info.dtype, inputs[name])
        try:
            results = self._callable(signature)(*(inputs[name] for name in signature.inputs))
        except tf.errors.OpError as error:
            if self._closed:
                raise ServingError(Code.UNAVAILABLE, _CLOSED) from error
            raise ServingError(Code(error.error_code), shown(kernel_text(error), _KERNEL_TEXT)) from error
        except UnicodeDecodeError as error:
            # A kernel's text that quotes bytes of the request, as of a broken tf.Example, may be no UTF-8. What gets
            # lost is the code; of a request it is this one.
            text = bytes(error.object).decode("utf-8", "replace")
            raise invalid(shown(without_stack(text), _KERNEL_TEXT)) from error
        return dict(zip(signature.outputs, map(np.asarray, results), strict=True))

    def close(self) -> None:
        """Gives the memory of the model back. Calls of `run` that are on their way should have ended."""
        self._closed = True
        self._session.close()

    def _callable(self, signature: Signature) -> Any:
        """Returns a handle on the C++ executor of a signature, made when it is first run.

        Signatures of the same tensors, as an export has under two names, share one: it takes a second to make.

        `Session.run`, and what the public `make_callable` returns, look every feed and fetch up anew in each call: 0.4
        ms for a ranker's ten inputs (2 cores, 2026-11-25).
        """
        feeds = [self._feeds[info.tensor] for info in signature.inputs.values()]
        fetches = [info.tensor for info in signature.outputs.values()]
        tensors = (*feeds, "", *fetches)
        if tensors not in self._callables:
            with self._making:
                if self._closed:
                    raise ServingError(Code.UNAVAILABLE, _CLOSED)
                if tensors not in self._callables:
                    options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
                    options.run_options.timeout_in_ms = self._timeout_ms
                    self._callables[tensors] = self._session._make_callable_from_options(options)
        return self._callables[tensors]


def load(saved_model_dir: str, *, timeout_ms: int = 0, require_checksums: bool = False) -> LoadedModel:
    """Loads a SavedModel version folder: see `LoadedModel`, which also says what raises."""
    return LoadedModel(saved_model_dir, timeout_ms=timeout_ms, require_checksums=require_checksums)


def graph_places(graph: Any) -> Iterator[tuple[str, Any]]:
    """Gives the nodes of a GraphDef and of its functions, and where each list of them stands."""
    yield "the graph", graph.node
    for function in graph.library.function:
        yield function.signature.name, function.node_def


def xla_problems(graph: Any) -> Iterator[str]:
    """Says what in a GraphDef needs XLA, which TensorFlow Serving has switched off, one sentence for each place."""
    compiled = {function.signature.name for function in graph.library.function if _must_compile(function)}
    ops: dict[str, str] = {}
    for place, nodes in graph_places(graph):
        for node in nodes:
            if _must_compile(node):
                compiled.add(place)
            if node.op.startswith("Xla"):
                ops.setdefault(node.op, place)
    for place in sorted(compiled):
        yield (
            f"{place} asks for XLA (jit_compile=True), which TensorFlow Serving has switched off: a call fails with "
            "'XLA compilation disabled'. Export without jit_compile."
        )
    for op, place in sorted(ops.items()):
        yield f"Op {op} in {place} needs XLA, which TensorFlow Serving has switched off. Export without it."


def _must_compile(proto: Any) -> bool:
    return "_XlaMustCompile" in proto.attr and bool(proto.attr["_XlaMustCompile"].b)


def read_meta_graph(saved_model_dir: str) -> Any:
    """Reads the MetaGraphDef proto with the tag `serve` in `<saved_model_dir>/saved_model.pb`.

    Raises:
        OSError: no such file, or it holds something else.
        ValueError: no MetaGraph with that tag.
    """
    path = Path(saved_model_dir) / "saved_model.pb"
    if not path.is_file():
        raise FileNotFoundError(f"Expected a SavedModel. Received: {saved_model_dir}, without a saved_model.pb in it.")
    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError; what it derives from differs between its implementations
        raise OSError(f"Expected a SavedModel in {path}. Received: a file that cannot be parsed ({error}).") from error
    for meta_graph in proto.meta_graphs:
        if SERVE_TAG in meta_graph.meta_info_def.tags:
            return meta_graph
    tags = [sorted(meta_graph.meta_info_def.tags) for meta_graph in proto.meta_graphs]
    raise ValueError(f"Expected a MetaGraph with the tag {SERVE_TAG!r} in {path}. Received: tags {tags}.")


def tensor_info(proto: Any) -> TensorInfo:
    """Returns the `TensorInfo` of a TensorInfo proto."""
    shape = proto.tensor_shape
    return TensorInfo(
        tensor=proto.name,
        dtype=types_pb2.DataType.Name(proto.dtype).removeprefix("DT_").lower(),
        shape=None if shape.unknown_rank else tuple(None if dim.size < 0 else dim.size for dim in shape.dim),
    )


def proto_dtype(name: str) -> Any:
    """Returns the `tf.DType` of a dtype's contract name."""
    return tf.dtypes.as_dtype(types_pb2.DataType.Value(f"DT_{name.upper()}"))


def _session_config() -> Any:
    """Returns TensorFlow's defaults, but without an optimizer for the graph as a whole.

    It goes through all functions for each signature; each function has one of its own, which runs with its first call.
    """
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return config


def _restore(session: Any, meta_graph: Any, saved_model_dir: str, input_map: Mapping[str, Any]) -> None:
    """Imports a MetaGraph into the session's graph, reads its variables and runs its init op.

    Python's lock is held while C++ imports, and nothing else of the server runs. So nodes come first: as long as the
    functions that they call are not there, their shapes are not inferred through these. Functions follow one by one.
    """
    for _, nodes in graph_places(meta_graph.graph_def):
        for node in nodes:
            if "config_proto" in node.attr:  # of what is called, which a second pass makes no faster
                config = config_pb2.ConfigProto.FromString(node.attr["config_proto"].s)
                config.graph_options.rewrite_options.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
                node.attr["config_proto"].s = config.SerializeToString()
    functions = list(meta_graph.graph_def.library.function)
    meta_graph.graph_def.library.ClearField("function")
    saver = tf.compat.v1.train.import_meta_graph(meta_graph, input_map=input_map)
    for function in functions:
        piece = tf.compat.v1.GraphDef(versions=meta_graph.graph_def.versions)
        piece.library.function.append(function)
        tf.import_graph_def(piece, name="")
    if saver:
        saver.restore(session, str(Path(saved_model_dir) / "variables" / "variables"))
    folder = Path(saved_model_dir) / "assets"
    files = {file.tensor_info.name: str(folder / file.filename) for file in meta_graph.asset_file_def}
    listed = meta_graph.signature_def
    init = [info.name for info in listed[_INIT].outputs.values()] if _INIT in listed else []
    for op in init or [op for name in _INIT_OF_VERSION_1 for op in tf.compat.v1.get_collection(name)]:
        session.run(op, files)


def _signature(proto: Any) -> Signature:
    return Signature(
        inputs={name: tensor_info(proto.inputs[name]) for name in sorted(proto.inputs)},
        outputs={name: tensor_info(proto.outputs[name]) for name in sorted(proto.outputs)},
    )


def _is_dense(signature: Signature) -> bool:
    """Whether every tensor has a name; the init op of a TF2 export is listed as a signature but is no tensor."""
    tensors = [*signature.inputs.values(), *signature.outputs.values()]
    return all(info.tensor and info.dtype != "invalid" for info in tensors)


def _check_dtype(name: str, dtype: str, value: NDArray[Any]) -> None:
    # NumPy has several dtypes for strings, and one each for the rest.
    if not (value.dtype.kind in "OSU" if dtype == "string" else value.dtype == proto_dtype(dtype).as_numpy_dtype):
        raise invalid(f"Expected {dtype} for input {name!r}. Received: {value.dtype}.")
