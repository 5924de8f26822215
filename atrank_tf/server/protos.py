"""TensorFlow Serving's protocol messages, without its package.

`tensorflow-serving-api` cannot be installed beside every TensorFlow, and would be a dependency for a handful of field
numbers. So the messages are declared here, in a pool of their own: a program may load both. Only what is supported is
declared: any other field in a text file is an error that names its line, in a binary file it is skipped.

Sources: `tensorflow_serving/config/*.proto` and `tensorflow_serving/apis/*.proto`.
"""

import functools
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
from tensorflow.core.framework import resource_handle_pb2, tensor_pb2, tensor_shape_pb2, types_pb2

_PACKAGE = "tensorflow.serving"
_TENSOR = "tensorflow.TensorProto"
_INT64_VALUE = "google.protobuf.Int64Value"

# Message -> its fields: name, number, type. A type is a scalar or a message; `*` repeats it, `{...}` is a map with
# string keys, and fields with the same `|name` exclude each other.
_MESSAGES: dict[str, list[tuple[str, int, str]]] = {
    # Files that a person writes.
    "ModelServerConfig": [("model_config_list", 1, "ModelConfigList")],
    "ModelConfigList": [("config", 1, "*ModelConfig")],
    "ModelConfig": [
        ("name", 1, "string"),
        ("base_path", 2, "string"),
        ("model_platform", 4, "string"),
        ("model_version_policy", 7, "ServableVersionPolicy"),
        ("version_labels", 8, "{int64}"),
    ],
    "ServableVersionPolicy": [
        ("latest", 100, "Latest|policy_choice"),
        ("all", 101, "All|policy_choice"),
        ("specific", 102, "Specific|policy_choice"),
    ],
    "Latest": [("num_versions", 1, "uint32")],
    "All": [],
    "Specific": [("versions", 1, "*int64")],
    "MonitoringConfig": [("prometheus_config", 1, "PrometheusConfig")],
    "PrometheusConfig": [("enable", 1, "bool"), ("path", 2, "string")],
    # Warm-up records.
    "PredictionLog": [
        ("classify_log", 2, "ClassifyLog|log_type"),
        ("regress_log", 3, "RegressLog|log_type"),
        ("predict_log", 6, "PredictLog|log_type"),
        ("multi_inference_log", 4, "MultiInferenceLog|log_type"),
        ("session_run_log", 5, "SessionRunLog|log_type"),
    ],
    "ClassifyLog": [("request", 1, "ExampleRequest")],
    "RegressLog": [("request", 1, "ExampleRequest")],
    "PredictLog": [("request", 1, "PredictRequest")],
    "MultiInferenceLog": [("request", 1, "MultiInferenceRequest")],
    "SessionRunLog": [],
    "PredictRequest": [
        ("model_spec", 1, "ModelSpec"),
        ("inputs", 2, f"{{{_TENSOR}}}"),
        ("output_filter", 3, "*string"),
    ],
    # ClassificationRequest and RegressionRequest, which have the same fields.
    "ExampleRequest": [("model_spec", 1, "ModelSpec"), ("input", 2, "Input")],
    "MultiInferenceRequest": [("tasks", 1, "*InferenceTask"), ("input", 2, "Input")],
    "InferenceTask": [("model_spec", 1, "ModelSpec"), ("method_name", 2, "string")],
    "ModelSpec": [
        ("name", 1, "string"),
        ("version", 2, f"{_INT64_VALUE}|version_choice"),
        ("version_label", 4, "string|version_choice"),
        ("signature_name", 3, "string"),
    ],
    # Examples stay serialized: they are handed to the model that way.
    "Input": [("example_list", 1, "ExampleList|kind"), ("example_list_with_context", 2, "ExampleListWithContext|kind")],
    "ExampleList": [("examples", 1, "*bytes")],
    "ExampleListWithContext": [("examples", 1, "*bytes"), ("context", 2, "bytes")],
}

_SCALARS = {"string": 9, "bytes": 12, "bool": 8, "int64": 3, "uint32": 13}


def new_message(name: str) -> Any:
    """Returns an empty message, as `new_message("PredictionLog")`; `KeyError` for a name that is not declared here."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))()


@functools.cache
def _pool() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for module in (wrappers_pb2, types_pb2, tensor_shape_pb2, resource_handle_pb2, tensor_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="atrank_tf/server.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name, tensor_pb2.DESCRIPTOR.name],
    )
    for name, fields in _MESSAGES.items():
        _declare(file.message_type.add(name=name), fields)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _declare(message: Any, fields: list[tuple[str, int, str]]) -> None:
    oneofs: list[str] = []
    for name, number, spec in fields:
        kind, _, oneof = spec.partition("|")
        label = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
        if kind.startswith(("*", "{")):
            label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
        field = message.field.add(name=name, number=number, label=label)
        if kind.startswith("{"):
            entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
            entry.options.map_entry = True
            _declare(entry, [("key", 1, "string"), ("value", 2, kind[1:-1])])
            field.type_name = f".{_PACKAGE}.{message.name}.{entry.name}"
        elif kind.lstrip("*") in _SCALARS:
            field.type = _SCALARS[kind.lstrip("*")]
        else:
            bare = kind.lstrip("*")
            field.type_name = f".{bare}" if "." in bare else f".{_PACKAGE}.{bare}"
        if oneof:
            if oneof not in oneofs:
                oneofs.append(oneof)
                message.oneof_decl.add(name=oneof)
            field.oneof_index = oneofs.index(oneof)
