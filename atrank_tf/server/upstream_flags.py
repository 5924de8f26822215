"""Flags of TensorFlow Serving that mean nothing here: taken, so that its command lines start this server too.

What would change an answer is refused; what is not served (gRPC, batching, TLS of gRPC, the profiler) is to be told.
"""

from absl import flags

# Flags with a value, or without one (True). Some are nothing to tell of: they are about threads and memory.
_UNTOLD = {
    "num_unload_threads": False,
    "flush_filesystem_caches": True,
    "tensorflow_session_parallelism": False,
    "per_process_gpu_memory_fraction": False,
    "num_request_iterations_for_warmup": False,
    "remove_unused_fields_from_bundle_metagraph": True,
    "num_tflite_pools": False,
    "num_tflite_interpreters_per_pool": False,
    "thread_pool_factory_config_file": False,
    "skip_initialize_tpu": True,
    "enable_serialization_as_tensor_content": True,
}
_NOT_SERVED = {
    "port": False,
    "grpc_socket_path": False,
    "grpc_channel_arguments": False,
    "grpc_max_threads": False,
    "enable_grpc_healthcheck_service": True,
    "use_alts_credentials": True,
    "ssl_config_file": False,
    "enable_batching": True,
    "batching_parameters_file": False,
    "enable_per_model_batching_parameters": True,
    "enable_profiler": True,
}

# Flag -> the values that change nothing, and why any other is refused. Those with "false" need no value.
_REFUSED = {
    "saved_model_tags": (("serve",), "versions are loaded by the tag serve"),
    "platform_config_file": (("",), "there is no platform but TensorFlow"),
    "tensorflow_session_config_file": (("",), "sessions are made with TensorFlow's defaults"),
    "mixed_precision": (("",), "models are run as they were exported"),
    "prefer_tflite_model": (("false",), "TensorFlow Lite models are not run"),
    "enable_signature_method_name_check": (("false",), "method names are not looked at"),
    "xla_cpu_compilation_enabled": (("false",), "graphs that need XLA are not run"),
    "xla_gpu_compilation_enabled": (("false",), "graphs that need XLA are not run"),
}


def define() -> None:
    """Defines the flags."""
    for name, is_switch in {**_UNTOLD, **_NOT_SERVED}.items():
        if is_switch:
            flags.DEFINE_bool(name, None, "Taken and not read.")
        else:
            flags.DEFINE_string(name, None, "Taken and not read.")
    for name, (same, why) in _REFUSED.items():
        if "false" in same:
            flags.DEFINE_bool(name, False, f"Must be false: {why}.")
        else:
            flags.DEFINE_string(name, same[0], f"Must be {same[0]!r}: {why}.")


def ignored() -> list[str]:
    """Returns the flags that were given and ask for what is not served here, `--port` and so on.

    Raises:
        ValueError: a flag asks for what would change answers.
    """
    for name, (same, why) in _REFUSED.items():
        value = flags.FLAGS[name].value
        if str(value).lower() not in same:
            raise ValueError(f"Expected --{name}={same[0]!r} or no such flag: {why}. Received: {value}.")
    return [f"--{name}" for name in _NOT_SERVED if flags.FLAGS[name].value not in (None, False)]
