"""What is in a records folder, for a person who must decide whether to train on it."""

from atrank_tf.report.drift import drift_warning
from atrank_tf.report.writing import load_report, write_report

__all__ = ["drift_warning", "load_report", "write_report"]
