"""What datasets map is TensorFlow as it stands: AutoGraph would read its source for seconds and change nothing."""

import tensorflow as tf

without_autograph = tf.autograph.experimental.do_not_convert
