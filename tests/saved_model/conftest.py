from toy_models import half_plus_two, typed_model  # noqa: F401
