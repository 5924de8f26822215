"""`python export/export_savedmodel.py`: what `python -m atrank_tf.export` does, from a checkout."""

from atrank_tf import command
from atrank_tf.export import main

if __name__ == "__main__":
    command.run(main)
