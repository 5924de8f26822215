"""`python -m atrank_tf.prepare` as a person runs it: what it prints, and one line for each mistake."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCHEMA = """
[tables]
item = { dim = 2 }
[entities.item]
id = { column = "item_id", table = "item" }
[groups.click]
entity = "item"
actions = ["view"]
[tasks.next]
group = "click"
negatives = { uniform = 1 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    (folder / "logs/behaviors").mkdir(parents=True)
    (folder / "logs/behaviors/click.csv").write_text("user_id,item_id,action,timestamp\nu,1,view,5\nu,,view,5\n")
    (folder / "schema.toml").write_text(SCHEMA)
    return folder


def arguments(folder, **flags):
    names = {"logs": f"{folder}/logs", "schema": f"{folder}/schema.toml", "records": f"{folder}/records"} | flags
    return ["-m", "atrank_tf.prepare", "--empty_parts", *(f"--{k}={v}" for k, v in names.items() if v is not None)]


def test_records_are_made_once(run_command, folder):
    first = run_command(*arguments(folder))
    assert first.returncode == 0, first.stderr
    assert f"{folder}/records: 1 users in 1 files" in first.stdout
    assert "1 dropped: missing object id (first: row 2 of click.csv)" in first.stdout
    assert (folder / "records/manifest.json").exists()
    second = run_command(*arguments(folder))
    assert (second.returncode, second.stdout) == (0, f"{folder}/records is current: same logs, same schema\n")


def test_logs_are_added(run_command, folder):
    assert run_command(*arguments(folder, records=f"{folder}/monday")).returncode == 0
    logs = folder / "tuesday_logs/behaviors"
    logs.mkdir(parents=True)
    (logs / "click.csv").write_text("user_id,item_id,action,timestamp\nu,2,view,5\nu,2,view,9\nv,1,view,9\n")
    flags = {"logs": logs.parent, "records": f"{folder}/tuesday", "append": f"{folder}/monday"}
    made = run_command(*arguments(folder, **flags))
    assert made.returncode == 0, made.stderr
    assert f"{folder}/tuesday: 2 users in 1 files" in made.stdout
    assert "1 dropped: timestamp not after 1970-01-01T00:00:05, the newest in the records" in made.stdout
    assert "group click: 3 behaviors" in made.stdout
    again = run_command(*arguments(folder, **flags))
    assert (again.returncode, again.stdout) == (0, f"{folder}/tuesday is current: same logs, same schema\n")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"append": "nowhere"}, "Expected a records folder at nowhere. Found none."),
        ({"append": "ftp://b/records"}, "Received: ftp://b/records."),
        ({"recods": "x"}, "Unknown command line flag 'recods'. Did you mean: records"),
        ({"records": None}, "Flag --records must have a value other than None."),
        ({"shards": "-1"}, "flag --shards=-1:"),
        ({"schema": "nowhere.toml"}, "Expected a TOML file at nowhere.toml. Found none."),
        ({"schema": None}, "Expected a schema file for --schema, which says what is in"),
        ({"runner": "FnApiRunner"}, "Unknown command line flag 'runner'"),
        ({"processes": "0"}, "flag --processes=0:"),
        ({"engine": "beam", "processes": "2"}, "--processes is for --engine=local. Received: --engine=beam."),
        ({"engine": "beem"}, "value should be one of <local|spark|dask|ray|beam>"),
        (
            {"engine_address": "tcp://h:1"},
            "--engine_address is for --engine=spark, dask, ray, beam. Rec",
        ),
        (
            {"engine": "beam", "engine_address": "127.0.0.1:1"},
            "Expected the job service of a Beam runner that answers at",
        ),
        ({"logs": "complete_jurney"}, "for --logs. Received: 'complete_jurney'. Did you mean \"complete_journey\"?"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(run_command, folder, flags, expected):
    done = run_command(*arguments(folder, **flags))
    assert done.returncode == 1
    assert expected in done.stderr
    assert done.stderr.startswith("prepare: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.skipif(importlib.util.find_spec("distributed") is not None, reason="the extra `dask` is installed")
def test_an_engine_that_is_not_installed(run_command, folder):
    done = run_command(*arguments(folder, engine="dask", engine_address="tcp://h:1"))
    expected = "prepare: --engine=dask needs distributed. Install it: pip install 'atrank-tf[dask]'\n"
    assert (done.returncode, done.stderr) == (1, expected)


def test_flags_of_beam_are_beams(run_command, folder, tmp_path):
    def run(**flags):
        return run_command(*arguments(folder, engine="beam", **flags))

    pytest.importorskip("apache_beam", reason="the extra `beam` is not installed")
    done = run(records=f"{tmp_path}/records", runner="FnApiRunner", direct_num_workers=1)
    assert done.returncode == 0, done.stderr
    assert "1 users in 1 files" in done.stdout
    assert "1 dropped: missing object id (first: row 2 of click.csv)" in done.stdout
    wrong = run(records=f"{tmp_path}/others", runner="FnApiRumner")
    assert wrong.returncode == 1
    assert "Unexpected pipeline runner: FnApiRumner" in wrong.stderr


def test_ready_logs_that_are_there_are_not_fetched_again(run_command, folder, tmp_path):
    ready = tmp_path / "cache/complete_journey/behaviors"
    ready.mkdir(parents=True)
    (ready / "click.csv").write_text("user_id,item_id,action,timestamp\nu,1,view,5\nv,1,view,5\n")
    places = {"logs": "complete_journey", "records": f"{tmp_path}/records", "logs_cache": f"{tmp_path}/cache"}
    done = run_command(*arguments(folder, **places))
    assert done.returncode == 0, done.stderr
    assert "2 users in 2 files" in done.stdout


def test_ready_logs_from_raw_files_with_their_own_schema(run_command, tmp_path):
    (tmp_path / "UserBehavior.csv").write_text("1,5,7,pv,1511540000\n1,6,7,buy,1511540001\n2,5,7,fav,1511540002\n")
    places = {"logs": "taobao_user_behavior", "raw": tmp_path, "schema": None, "records": f"{tmp_path}/records"}
    done = run_command(*arguments(tmp_path, **places))
    assert done.returncode == 0, done.stderr
    assert "group interaction: 3 behaviors" in done.stdout
    assert (tmp_path / "logs/taobao_user_behavior/behaviors/interaction.parquet").exists()
