"""`python export/export_savedmodel.py`: what `python -m atrank_tf.export` does, from a checkout."""

import runpy

if __name__ == "__main__":
    runpy.run_module("atrank_tf.export", run_name="__main__", alter_sys=True)
