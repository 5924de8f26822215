"""The command, as a person starts it."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from absl import flags

from atrank_tf import serve
from atrank_tf.version import __version__

_ROOT = Path(__file__).parents[2]


def command(*flags):
    return subprocess.Popen(
        [sys.executable, "-m", "atrank_tf.serve", *flags],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ready(process):
    """The address of a server that has just said where its first model is."""
    line = process.stdout.readline()
    found = re.fullmatch(r"Ready: (http://127\.0\.0\.1:\d+)/v1/models/(\w+)\n", line)
    assert found, (line, process.stderr.read() if not line else "")
    return found[1], found[2]


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:  # it ended while we were waiting to be taken
        pass
    return True


def ask(url, body=None):
    with urllib.request.urlopen(url, body, timeout=60) as response:
        return response.read()


def test_serves_what_its_files_say_and_finishes_what_it_holds(half_plus_two, tmp_path):
    model = f"base_path: '{half_plus_two}' model_platform: 'tensorflow'"
    labels = "version_labels { key: 'stable' value: 123 }"
    (tmp_path / "models").write_text(
        f"model_config_list {{ config {{ name: 'a' {model} {labels} }} config {{ name: 'b' {model} }} }}"
    )
    (tmp_path / "monitoring").write_text("prometheus_config { enable: true path: '/metrics' }")
    values = {
        "model_config_file": tmp_path / "models",
        "model_config_file_poll_wait_seconds": 1,
        "monitoring_config_file": tmp_path / "monitoring",
        "rest_api_port": 0,
        "rest_api_num_threads": 2,
        "rest_api_timeout_in_ms": 60_000,
        "rest_api_enable_cors_support": "true",
        "enable_model_warmup": "false",
        "max_num_load_retries": 0,
        "tensorflow_intra_op_parallelism": 1,
        "tensorflow_inter_op_parallelism": 1,
    }
    with command(*(f"--{name}={value}" for name, value in values.items())) as process:
        try:
            address, name = ready(process)
            assert (name, ready(process)) == ("a", (address, "b"))
            assert b"3.0" in ask(f"{address}/v1/models/a/labels/stable:predict", b'{"instances": [2]}')
            assert b':request_count{model_name="a",status="OK"} 1\n' in ask(f"{address}/metrics")
            body = b'{"instances": [2]}'
            port = int(address.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                head = b"POST /v1/models/b:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
                connection.sendall(head + body[:5])
                assert b"AVAILABLE" in ask(f"{address}/v1/models/b")  # so the server has the half of it
                process.send_signal(signal.SIGINT)  # test_load.py ends one by SIGTERM
                while listens(port):
                    time.sleep(0.01)
                connection.sendall(body[5:])
                answer = connection.recv(10_000)
        finally:
            process.terminate()
        out, err = process.communicate(timeout=60)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close\r\n" in answer
    assert answer.endswith(b'{"predictions": [3.0]}')
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err


def test_what_cannot_be_broken_off_does_not_keep_the_process(monkeypatch, caplog):
    ends, threads = [], [threading.main_thread()]
    monkeypatch.setattr(os, "_exit", ends.append)
    monkeypatch.setattr(threading, "enumerate", lambda: threads)
    for daemon in (True, False):
        threads.append(threading.Thread(daemon=daemon))
        serve._leave_behind()
        assert ends == ([] if daemon else [0])
    assert "it is not waited for" in caplog.text


def test_nothing_to_serve_is_one_line_and_exit_code_1(run_command, tmp_path):
    done = run_command("-m", "atrank_tf.serve", "--model_name=m", f"--model_base_path={tmp_path}")
    assert (done.returncode, done.stdout) == (1, "")
    lines = [line for line in done.stderr.splitlines() if line.startswith("serve: ")]
    assert len(lines) == 1
    assert f"Received: no version in {tmp_path}." in lines[0]
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_or_a_host_of_elsewhere_is_told_before_a_model_is_loaded(run_command, tmp_path):
    # There is no model, which is told after TensorFlow's import.
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        begun = ("-m", "atrank_tf.serve", f"--model_base_path={tmp_path}", f"--rest_api_port={port}")
        taken = run_command(*begun)
    elsewhere = run_command(*begun, "--rest_api_host=192.0.2.1")
    begins = r"serve: Expected an address of this machine and a free port \(--rest_api_host, --rest_api_port\)\. "
    for done, host in ((taken, "127.0.0.1"), (elsewhere, "192.0.2.1")):
        assert done.returncode == 1
        assert re.fullmatch(rf"{begins}Received: port {port} of {re.escape(host)}, [\w ]+\.\n", done.stderr)


def test_a_model_or_a_config_file_must_be_named(run_command):
    done = run_command("-m", "atrank_tf.serve")
    assert done.returncode == 1
    assert "serve: Expected --model_base_path or --model_config_file. Received: neither." in done.stderr


# tensorflow_serving/model_servers/main.cc
_UPSTREAM = """
port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms rest_api_enable_cors_support
enable_batching allow_version_labels_for_unavailable_models batching_parameters_file
enable_per_model_batching_parameters model_config_file model_config_file_poll_wait_seconds model_name model_base_path
num_load_threads num_unload_threads max_num_load_retries load_retry_interval_micros file_system_poll_wait_seconds
flush_filesystem_caches tensorflow_session_parallelism tensorflow_session_config_file tensorflow_intra_op_parallelism
tensorflow_inter_op_parallelism use_alts_credentials ssl_config_file platform_config_file
per_process_gpu_memory_fraction saved_model_tags grpc_channel_arguments grpc_max_threads enable_model_warmup
num_request_iterations_for_warmup version monitoring_config_file remove_unused_fields_from_bundle_metagraph
prefer_tflite_model num_tflite_pools num_tflite_interpreters_per_pool enable_signature_method_name_check
xla_cpu_compilation_enabled xla_gpu_compilation_enabled enable_profiler thread_pool_factory_config_file
mixed_precision skip_initialize_tpu enable_grpc_healthcheck_service enable_serialization_as_tensor_content
"""


def test_every_flag_of_tensorflow_serving_is_taken():
    assert set(_UPSTREAM.split()) <= set(flags.FLAGS)


def test_the_command_line_of_tensorflow_servings_image_starts_the_server_which_says_what_it_does_not_serve(
    half_plus_two,
):
    image = ("--port=8500", "--rest_api_port=0", "--model_name=m", f"--model_base_path={half_plus_two}")
    same = ("--flush_filesystem_caches=false", "--load_retry_interval_micros=-1")
    with command(*image, "--enable_batching", "--batching_parameters_file=b", *same) as run:
        try:
            address, _ = ready(run)
            assert b"3.0" in ask(f"{address}/v1/models/m:predict", b'{"instances": [2]}')
        finally:
            run.terminate()
        _, err = run.communicate(timeout=60)
    lines = [line for line in err.splitlines() if "Not served here" in line]
    assert len(lines) == 1
    assert lines[0].endswith(": --port, --enable_batching, --batching_parameters_file.")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "saved_model_tags=train",
            "Expected --saved_model_tags='serve' or no such flag: versions are loaded",
        ),
        ("xla_cpu_compilation_enabled", "Expected --xla_cpu_compilation_enabled='false' or no such flag: graphs that"),
        ("enable_signature_method_name_check=true", "method names are not looked at. Received: True."),
        ("platform_config_file=p", "Expected --platform_config_file='' or no such flag: there is no platform but"),
    ],
)
def test_a_flag_that_would_change_answers_is_refused_with_a_reason(run_command, half_plus_two, flag, message):
    done = run_command("-m", "atrank_tf.serve", f"--model_base_path={half_plus_two}", f"--{flag}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("serve: Expected --")
    assert message in done.stderr


def test_the_version_is_said(run_command):
    done = run_command("-m", "atrank_tf.serve", "--version")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, f"atrank_tf {__version__}")


def test_the_documentation_has_the_flags_of_the_command_with_their_defaults():
    defaults = {flag.name: flag.default for flag in flags.FLAGS.flags_by_module_dict()[serve.__name__]}
    rows = re.findall(r"^\| `--(\w+)` \| ([^|]*) \|", (_ROOT / "docs/server.md").read_text(), re.MULTILINE)
    documented = dict(rows)
    assert documented.keys() == defaults.keys()
    assert documented.pop("rest_api_num_threads") == "4 for each CPU"
    assert documented.pop("rest_api_max_connections") == "half of the files that may be open, 1,000 at most"
    assert documented.pop("allowed_hosts") == "none"
    for name, text in documented.items():
        default = defaults[name]
        if isinstance(default, float | int) and not isinstance(default, bool):
            assert float(text.replace(",", "")) == default, name
        else:
            assert text == ("none" if default is None else str(default).lower()), name


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "Expecting property name"), ('{"inputs": {}}', "Expected a predict request in row form")],
)
def test_a_file_that_a_playground_cannot_begin_with_is_named(run_command, half_plus_two, tmp_path, text, message):
    (tmp_path / "request.json").write_text(text)
    flags = (f"--model_base_path={half_plus_two}", f"--playground={tmp_path}/request.json")
    done = run_command("-m", "atrank_tf.serve", *flags)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"serve: {tmp_path}/request.json: {message}" in done.stderr
