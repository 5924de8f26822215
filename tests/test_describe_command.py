"""`python -m atrank_tf.describe` as a person runs it."""

import pytest


@pytest.fixture(scope="module")
def market(run_command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("market") / "logs"
    done = run_command("-m", "atrank_tf.simulate", "--users=60", "--seed=1", f"--logs={folder}")
    assert done.returncode == 0, done.stderr
    for path in (folder / "truth").iterdir():
        path.unlink()
    return folder


def test_two_files_are_written_and_the_next_commands_named(run_command, market, tmp_path):
    command = ("-m", "atrank_tf.describe", f"--logs={market}", f"--output={tmp_path}")
    done = run_command(*command)
    assert done.returncode == 0, done.stderr
    assert "catalog/product.parquet" in done.stdout
    assert f"python -m atrank_tf.prepare  --logs={market} --schema={tmp_path}/schema.toml" in done.stdout
    assert (tmp_path / "experiment.toml").exists()
    again = run_command(*command)
    expected = f"describe: Expected no schema.toml in {tmp_path}: it may have been edited. Remove it, or take another"
    assert again.returncode == 1 and again.stderr.startswith(expected)


def test_a_folder_that_is_not_there(run_command, tmp_path):
    done = run_command("-m", "atrank_tf.describe", f"--logs={tmp_path}/none")
    assert (done.returncode, done.stderr) == (
        1,
        f"describe: Expected a folder of logs at {tmp_path}/none. Found none.\n",
    )
