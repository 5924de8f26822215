"""The data report: measures, draws and checks what is in a records folder, before a training."""

from atrank_tf.report.checks import drift_warning, left_out_note
from atrank_tf.report.measure import PARTS, load_report, write_report
from atrank_tf.report.parts import check_parts

__all__ = ["PARTS", "check_parts", "drift_warning", "left_out_note", "load_report", "write_report"]
