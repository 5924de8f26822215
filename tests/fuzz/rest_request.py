"""Any bytes as the path and the body of a REST call: read, or refused by the contract's own error.

The first line is the path, the rest the body. No model is asked: what the kernels do is TensorFlow's.
"""

import harness

with harness.watched():
    from atrank_tf.server.errors import Code, ServingError
    from atrank_tf.server.examples import read_examples
    from atrank_tf.server.json_request import debug_string, read_request
    from atrank_tf.server.json_tensors import read_tensors
    from atrank_tf.server.rest_api import parse_path

SIGNATURES = [
    {"word": "string", "offset": "int64"},
    {"x": "float"},
    {"b": "bool", "h": "half", "i": "int8", "u": "uint64", "d": "double", "c": "complex64"},
]
ALLOWED = (Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED)
RIGHT = [
    b'/v1/models/m:predict\n{"instances": [{"word": "a", "offset": 1}, {"word": {"b64": "Yg=="}, "offset": -2}]}',
    b'/v1/models/m/versions/2:predict\n{"signature_name": "s", "inputs": {"word": ["a"], "offset": [[1], [2]]}}',
    b'/v1/models/m/labels/new:predict\n{"instances": [1.5, 2, NaN, -Inf, 1e3]}',
    b'/v1/models/%41:classify\n{"context": {"z": ["u"]}, "examples": [{"x": 1.5, "y": [1, 2]}, {"x": "\\u00e9"}]}',
    b'/v1/models/m:predict\n{"inputs": {"b": [true], "h": [1], "i": [-128], "u": [3], "d": [1.0], "c": [0]}}',
]


def one(data: bytes) -> None:
    path, _, body = data.partition(b"\n")
    refuse_or(lambda: parse_path("POST", path.decode("latin-1")))
    refuse_or(lambda: parse_path("GET", path.decode("latin-1").split(":")[0]))
    request = refuse_or(lambda: read_request(body))
    if request is None:
        return
    debug_string(request.document)
    for inputs in SIGNATURES:
        refuse_or(lambda inputs=inputs: read_tensors(request, inputs))
    refuse_or(lambda: read_examples(request, max_bytes=1 << 23))


def refuse_or(read):
    try:
        return read()
    except ServingError as error:
        if error.code not in ALLOWED or not error.message:
            raise


if __name__ == "__main__":
    harness.main("rest_request", one, RIGHT)
