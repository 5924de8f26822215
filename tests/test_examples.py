"""The scripts in examples/ run, on data that they make."""

import json
import re

import pytest


@pytest.mark.slow
def test_own_logs_go_from_four_files_to_scores(run_command, tmp_path):
    done = run_command("examples/own_logs.py", "--users=60", f"--work={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "clickstream.csv    behaviors: customer did something with sku at time" in done.stdout
    assert "pages.csv          impressions: sku shown to customer, chosen where clicked is 1" in done.stdout
    assert re.search(r"^  timeline_atrank +0\.\d{4} ±", done.stdout, re.MULTILINE)
    answer = json.loads(done.stdout.splitlines()[-1].split(" answers ")[1])
    assert len(answer["predictions"][0]) == 5
