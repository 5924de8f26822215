"""TensorFlow Serving's REST contract, without a network: a request body -> an answer."""
