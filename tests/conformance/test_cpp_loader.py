"""Law 5 on the server's side: `LoadSavedModel` in C++, as TensorFlow Serving calls it, scores as Keras does.

The tensorflow wheel exports that loader through its C API. Run as a script, this file is the server: nothing can switch
XLA on again in a process, so no test shares the process in which it is off, as it is in TensorFlow Serving by default.
"""

import ctypes
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from raw_requests import examples, raw_request, rows_of_request

from atrank_tf.data import IdMaps, Records
from atrank_tf.models import ATRank, Ranker, TimelineATRank
from atrank_tf.saved_model import export_model
from atrank_tf.server import LoadedModel
from atrank_tf.server.loader import read_meta_graph

pytestmark = pytest.mark.slow

DISABLE_XLA = "_ZN10tensorflow21DisableXlaCompilationEv"  # void tensorflow::DisableXlaCompilation()
TSTRING_BYTES = 24  # sizeof(TF_TString)


class Output(ctypes.Structure):
    """`TF_Output`: one result of one op."""

    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


_int, _pointer, _size, _text = ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
_pointers = ctypes.POINTER(_pointer)
_tensors = [ctypes.POINTER(Output), _pointers, _int]
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    DISABLE_XLA: (None, []),
    "TF_NewStatus": (_pointer, []),
    "TF_GetCode": (_int, [_pointer]),
    "TF_Message": (_text, [_pointer]),
    "TF_NewGraph": (_pointer, []),
    "TF_GraphOperationByName": (_pointer, [_pointer, _text]),
    "TF_NewSessionOptions": (_pointer, []),
    "TF_LoadSessionFromSavedModel": (
        _pointer,
        [_pointer, _pointer, _text, ctypes.POINTER(_text), _int, _pointer, _pointer, _pointer],
    ),
    "TF_SessionRun": (None, [_pointer, _pointer, *_tensors, *_tensors, _pointers, _int, _pointer, _pointer]),
    "TF_AllocateTensor": (_pointer, [_int, ctypes.POINTER(ctypes.c_int64), _int, _size]),
    "TF_TensorData": (_pointer, [_pointer]),
    "TF_TensorByteSize": (_size, [_pointer]),
    "TF_TensorType": (_int, [_pointer]),
    "TF_NumDims": (_int, [_pointer]),
    "TF_Dim": (ctypes.c_int64, [_pointer, _int]),
    "TF_StringInit": (None, [_pointer]),
    "TF_StringCopy": (None, [_pointer, _text, _size]),
}


def c_library() -> Any:
    """Returns TensorFlow's C API; raises OSError or AttributeError where the wheel lacks it or one of `FUNCTIONS`."""
    folder = Path(tf.sysconfig.get_lib())
    paths = sorted(folder.glob("libtensorflow_cc*"))
    if not paths:
        raise FileNotFoundError(f"No libtensorflow_cc in {folder}.")
    library = ctypes.CDLL(str(paths[0]))
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class CppSession:
    """A SavedModel behind the C API. Nothing is freed: the process ends with it."""

    def __init__(self, library: Any, saved_model_dir: str) -> None:
        self._library = library
        self._status = library.TF_NewStatus()
        self._graph = library.TF_NewGraph()
        options, folder, tags = library.TF_NewSessionOptions(), saved_model_dir.encode(), (_text * 1)(b"serve")
        load = library.TF_LoadSessionFromSavedModel
        self._session = load(options, None, folder, tags, 1, self._graph, None, self._status)
        self._check()

    def run(self, feeds: Mapping[str, NDArray[Any]], fetches: Sequence[str]) -> list[NDArray[Any]]:
        """Runs the graph once, everything by tensor name; strings as arrays of kind `S` or of bytes."""
        places = (Output * len(feeds))(*map(self._place, feeds))
        values = (_pointer * len(feeds))(*map(self._to_tensor, feeds.values()))
        results = (_pointer * len(fetches))()
        fed = (places, values, len(feeds))
        fetched = ((Output * len(fetches))(*map(self._place, fetches)), results, len(fetches))
        self._library.TF_SessionRun(self._session, None, *fed, *fetched, None, 0, None, self._status)
        self._check()
        return list(map(self._to_array, results))

    def _place(self, tensor_name: str) -> Output:
        operation, index = tensor_name.split(":")
        found = self._library.TF_GraphOperationByName(self._graph, operation.encode())
        if not found:
            raise KeyError(tensor_name)
        return Output(found, int(index))

    def _to_tensor(self, value: NDArray[Any]) -> Any:
        is_text = value.dtype.kind in "SO"
        size = TSTRING_BYTES * value.size if is_text else value.nbytes
        shape = (ctypes.c_int64 * value.ndim)(*value.shape)
        dtype = tf.dtypes.as_dtype(value.dtype).as_datatype_enum
        tensor = self._library.TF_AllocateTensor(dtype, shape, value.ndim, size)
        data = self._library.TF_TensorData(tensor)
        if is_text:
            for number, text in enumerate(value.ravel().tolist()):
                place = data + number * TSTRING_BYTES
                self._library.TF_StringInit(place)
                self._library.TF_StringCopy(place, text, len(text))
        else:
            ctypes.memmove(data, value.tobytes(), size)
        return tensor

    def _to_array(self, tensor: Any) -> NDArray[Any]:
        dtype = tf.dtypes.as_dtype(self._library.TF_TensorType(tensor)).as_numpy_dtype
        shape = [self._library.TF_Dim(tensor, axis) for axis in range(self._library.TF_NumDims(tensor))]
        data = ctypes.string_at(self._library.TF_TensorData(tensor), self._library.TF_TensorByteSize(tensor))
        return np.frombuffer(data, dtype).reshape(shape)

    def _check(self) -> None:
        if self._library.TF_GetCode(self._status):
            raise RuntimeError(self._library.TF_Message(self._status).decode())


def answer(saved_model_dir: str, asked: str, answered: str) -> None:
    """Runs every signature without XLA: `<signature>/<input>` of one .npz file -> `<signature>/<output>` of another."""
    library = c_library()
    getattr(library, DISABLE_XLA)()
    session = CppSession(library, saved_model_dir)
    found = {}
    with np.load(asked) as given:
        for name, signature in read_meta_graph(saved_model_dir).signature_def.items():
            if signature.inputs:  # The init op, listed as a signature too, has none.
                feeds = {info.name: _bytes(key, given[f"{name}/{key}"]) for key, info in signature.inputs.items()}
                text = tf.string.as_datatype_enum
                fetched = {key: info.name for key, info in signature.outputs.items() if info.dtype != text}
                answers = session.run(feeds, list(fetched.values()))
                found |= {f"{name}/{key}": value for key, value in zip(fetched, answers, strict=True)}
    np.savez(answered, **found)


def _bytes(name: str, value: NDArray[Any]) -> NDArray[Any]:
    """Examples travel as hexadecimal digits: arrays of kind `S` lose zeros at the end."""
    return np.array([bytes.fromhex(each) for each in value.tolist()], object) if name == "examples" else value


def _ask(
    run_command: Callable[..., Any], saved_model_dir: str, asked: Mapping[str, Mapping[str, NDArray[Any]]], folder: Path
) -> dict[str, Any]:
    """`answer` in a process of its own; raises RuntimeError with what it wrote to stderr."""
    try:
        c_library()
    except (OSError, AttributeError) as error:
        pytest.skip(f"this tensorflow has no C API to load a SavedModel with: {error}")
    arrays = {f"{name}/{key}": value for name, inputs in asked.items() for key, value in inputs.items()}
    bytes_for_objects = {key: value.astype("S") if value.dtype == object else value for key, value in arrays.items()}
    np.savez(folder / "asked.npz", **bytes_for_objects)
    done = run_command(__file__, saved_model_dir, folder / "asked.npz", folder / "answered.npz")
    if done.returncode:
        raise RuntimeError(done.stderr)
    with np.load(folder / "answered.npz") as answered:
        return dict(answered)


@pytest.mark.parametrize(
    ("kind", "data"), [(TimelineATRank, "records"), (ATRank, "records"), (ATRank, "hashed_records")]
)
def test_5_tensorflow_servings_loader_answers_every_signature_without_xla(
    kind: type[Ranker],
    data: str,
    run_command: Callable[..., Any],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    records: Records = request.getfixturevalue(data)
    keras.utils.set_random_seed(5)
    config = {"hidden_dim": 12, "num_spaces": 3, "intermediate_dim": 10, "hidden_units": [9]}
    model, rng = kind(records.schema, catalogs=records.catalogs, **config), np.random.default_rng(5)
    for weight in model.trainable_weights:
        weight.assign(weight + rng.normal(scale=0.2, size=weight.shape))
    export = export_model(model, IdMaps.of(records), str(tmp_path / "export"), explain=True)
    here = LoadedModel(export)
    asked: dict[str, dict[str, NDArray[Any]]] = {}
    for task in reversed(model.tasks):  # The first task of the model last: its requests are the default.
        raw, real = raw_request(records, task)
        known = raw | here.run("encode_user", {name: raw[name] for name in here.signatures["encode_user"].inputs})
        known |= {"examples": examples(raw, real, task)}
        users = len(raw["now"])
        known |= {"k": np.full(users, 4), "exclude": raw[f"{task}__candidates"][:, :1]}
        known |= {"exclude_history": np.arange(users) % 2 == 0}
        for kind_of in ("score", "rank", "score_candidates", "explain", "top"):
            name = f"{kind_of}__{task}"
            if name in here.signatures:  # Only a task with sampled negatives has the best of a catalog.
                asked[name] = {key: known[key] for key in here.signatures[name].inputs}
    for name in ("serving_default", "rank", "score_candidates", "explain", "top", "encode_user"):
        asked[name] = {key: known[key] for key in here.signatures[name].inputs}
    if kind is TimelineATRank:
        asked["encode_timeline"], newer = asked["encode_user"], dict(asked["encode_user"])
        for group in records.schema.groups:
            time = raw[f"{group}__timestamp"]
            newer[f"{group}__timestamp"] = np.where(time, raw["now"][:, np.newaxis], 0)
        asked["append_behaviors"] = newer | here.run("encode_timeline", asked["encode_timeline"])
    expected = {name: here.run(name, inputs) for name, inputs in asked.items()}
    for inputs in asked.values():
        if "examples" in inputs:
            inputs["examples"] = np.array([each.hex() for each in inputs["examples"]])
    answered = _ask(run_command, export, asked, tmp_path)
    assert {key.split("/")[0] for key in answered} == set(asked)
    assert set(here.signatures) - set(asked) == {"__saved_model_init_op"}
    for key, found in answered.items():
        signature, output = key.split("/")
        if output == "ids":  # Texts come as bytes.
            np.testing.assert_array_equal(found.astype(str), expected[signature][output].astype(str))
            continue
        np.testing.assert_allclose(found, expected[signature][output], rtol=1e-5, atol=1e-5)
    inputs = rows_of_request(records, "next_purchase")
    given = {tensor.name: inputs[tensor.name] for tensor in model.inputs}
    scores = np.asarray(model(given, training=False)["next_purchase"])
    assert np.ptp(scores) > 0.1 and answered["serving_default/scores"].dtype == np.float32
    np.testing.assert_allclose(answered["serving_default/scores"], scores, rtol=1e-5, atol=1e-5)
    here.close()


def test_what_asks_for_xla_is_refused_here_and_loads_there_to_fail_in_a_call(
    run_command: Callable[..., Any], tmp_path: Path
) -> None:
    module, export, three = tf.Module(), str(tmp_path / "export"), np.array([3.0], np.float32)
    module.double = tf.function(lambda x: {"scores": 2.0 * x}, jit_compile=True)
    tf.saved_model.save(module, export, module.double.get_concrete_function(tf.TensorSpec([None], tf.float32, "x")))
    with pytest.raises(
        ValueError, match=r"asks for XLA \(jit_compile=True\), which TensorFlow Serving has switched off"
    ):
        LoadedModel(export)
    with pytest.raises(RuntimeError, match=r"in run\n(.*\n)*.*XLA compilation disabled"):
        _ask(run_command, export, {"serving_default": {"x": three}}, tmp_path)


if __name__ == "__main__":
    answer(*sys.argv[1:])
