import re

import pytest

from atrank_tf.server.config_files import ModelConfig, read_metrics_path, read_model_config
from atrank_tf.server.versions import All, Latest, Specific


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "file.config"
        path.write_text(text)
        return str(path)

    return write


def test_the_example_of_tensorflow_servings_documentation(file):
    path = file("""
        # A comment.
        model_config_list {
          config {
            name: 'atrank' base_path: '/models/atrank' model_platform: 'tensorflow'
            model_version_policy { specific { versions: 42 versions: 43 } }
            version_labels { key: 'stable' value: 42 }
            version_labels { key: 'canary' value: 43 }
          }
        }
    """)
    labels = {"stable": 42, "canary": 43}
    assert read_model_config(path) == [
        ModelConfig("atrank", "/models/atrank", Specific(frozenset({42, 43})), labels),
    ]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", Latest(0)),
        ("model_version_policy {}", Latest(0)),
        ("model_version_policy { latest {} }", Latest(0)),
        ("model_version_policy { latest { num_versions: 3 } }", Latest(3)),
        ("model_version_policy: { all: {} }", All()),
    ],
)
def test_policies(file, policy, expected):
    config = f'config {{ name: "m" base_path: "/b" model_platform: "tensorflow" {policy} }}'
    [found] = read_model_config(file(f"model_config_list {{ {config} }}"))
    assert found.policy == expected


MODEL = 'config { name: "m" base_path: "/b" model_platform: "tensorflow" }'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Received: no model"),
        ("model_config_list {}", "Received: no model"),
        (f"model_config_list {{ {MODEL} {MODEL} }}", "Received: 'm' twice"),
        ("model_config_list {\n config {\n  nome: 'm'\n } }", 'line 3:3 : .*has no field named "nome"'),
        ("model_config_list {\n config { logging_config {} } }", 'line 2:11 : .*has no field named "logging_config"'),
        ("model_config_list { config { base_path: 'b' } }", "Expected a name for every model .*Received: base_path: "),
        ("model_config_list { config { name: 'm' } }", "Expected a base_path for every model"),
        ("model_config_list { config { name: 'm' base_path: 'b' } }", "model_platform: 'tensorflow' .*Received: ''"),
        (
            "model_config_list { config { name: 'm' base_path: 'b' model_platform: 'jax' } }",
            "model 'm' .*Received: 'jax'",
        ),
        (
            "model_config_list { config { name: 'm' base_path: 'hdfs://b' model_platform: 'tensorflow' } }",
            "Expected a path of a file system, s3:// or gs://. Received: hdfs://b",
        ),
        (
            "model_config_list { config { model_version_policy { all {}\n latest {} } } }",
            "line 2:2 : .*member of oneof",
        ),
    ],
)
def test_a_model_config_file_that_is_wrong(file, text, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        read_model_config(file(text))


def test_a_file_that_is_no_text_or_not_there(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"Expected a ModelServerConfig in text format in .*binary"):
        read_model_config(str(tmp_path / "binary"))
    with pytest.raises(FileNotFoundError, match=r"Expected a MonitoringConfig in text format\. Received: .*nowhere"):
        read_metrics_path(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics"),
        ("prometheus_config: { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { path: "/metrics" }', None),
        ("", None),
    ],
)
def test_the_metrics_page_is_off_unless_the_file_enables_it(file, text, path):
    assert read_metrics_path(file(text)) == path


@pytest.mark.parametrize("path", ["metrics", "/v1/metrics"])
def test_a_metrics_page_outside_of_the_api(file, path):
    with pytest.raises(ValueError, match=re.escape(f"outside of /v1/. Received: {path!r}.")):
        read_metrics_path(file(f"prometheus_config {{ enable: true path: '{path}' }}"))
