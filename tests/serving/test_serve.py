"""The command, as a person starts it."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

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


def run(*flags):
    with command(*flags) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_until_it_is_told_to_stop(half_plus_two, number):
    with command("--model_name=m", f"--model_base_path={half_plus_two}", "--rest_api_port=0") as process:
        ready = process.stdout.readline()
        url = re.fullmatch(r"Ready: (http://127\.0\.0\.1:\d+/v1/models/m)\n", ready)
        try:
            assert url, (ready, process.stderr.read() if not ready else "")
            with urllib.request.urlopen(f"{url[1]}:predict", b'{"instances": [2]}', timeout=60) as response:
                assert json.loads(response.read()) == {"predictions": [3.0]}
        finally:
            process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == ""
    assert "Traceback" not in err


def test_nothing_to_serve_is_one_line_and_exit_code_1(tmp_path):
    code, out, err = run("--model_name=m", f"--model_base_path={tmp_path}")
    assert (code, out) == (1, "")
    lines = [line for line in err.splitlines() if line.startswith("serve: ")]
    assert len(lines) == 1
    assert f"Received: no version in {tmp_path}." in lines[0]
    assert "Traceback" not in err


def test_help_names_every_flag():
    _, out, err = run("--help")
    for flag in ("model_name", "model_base_path", "rest_api_port", "rest_api_host", "file_system_poll_wait_seconds"):
        assert flag in out + err


def test_a_missing_flag_is_named():
    code, _, err = run()
    assert code == 1
    assert "model_base_path" in err
