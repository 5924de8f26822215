"""Models of a server by name, which a configuration may change while it runs."""

import os
from collections.abc import Callable, Collection, Iterable
from concurrent import futures
from contextlib import AbstractContextManager

from absl import logging

from atrank_tf.server.config_files import ModelConfig
from atrank_tf.server.errors import not_found, unknown_label
from atrank_tf.server.loader import LoadedModel
from atrank_tf.server.served_model import ServedModel
from atrank_tf.server.versions import VersionStatus
from atrank_tf.server.work_budget import Turns


class ServedModels:
    """Models of a server by name. Threads may use an object together; `start`, `configure`, `refresh` one at a time.

    Attributes:
        turns: of requests, which make room for a version that is loaded.

    Args:
        configs: one for each model.
        make: called with a config's name and base path, and its `policy` and `labels` by keyword. Defaults to
            `ServedModel`.
        num_load_threads: models that are looked after at once. Defaults to 4.
    """

    def __init__(
        self,
        configs: Iterable[ModelConfig],
        make: Callable[..., ServedModel] = ServedModel,
        *,
        num_load_threads: int = 4,
    ) -> None:
        self._make = make
        self.turns = Turns(os.cpu_count() or 1)
        self._threads = futures.ThreadPoolExecutor(num_load_threads, thread_name_prefix="atrank-versions")
        self._looking: dict[str, futures.Future[None]] = {}
        # Replaced as a whole, so that a look-up needs no lock.
        self._models = {config.name: self._new(config) for config in configs}

    @classmethod
    def of(cls, models: "ServedModels | ServedModel") -> "ServedModels":
        """Returns several models as they are, one model as the only one."""
        if isinstance(models, ServedModels):
            return models
        only = cls([])
        only._models = {models.name: models}
        models.while_loading = only.turns.loading
        return only

    @property
    def names(self) -> Collection[str]:
        """The names of all models."""
        return self._models.keys()

    def lease(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> AbstractContextManager[tuple[int, LoadedModel]]:
        """See `ServedModel.lease`, which also says what raises; NOT_FOUND for a model that is not served."""
        model = self._models.get(name)
        if model is not None:
            return model.lease(version, label)
        raise not_found(name, version) if label is None else unknown_label(label)

    def statuses(self, name: str) -> list[VersionStatus]:
        """Returns the state of each version of a model, newest first; empty for a model that is not served."""
        model = self._models.get(name)
        return model.statuses() if model else []

    def start(self) -> None:
        """Loads all models; what raises: see `ServedModel.start`."""
        for model in self._models.values():
            model.start()

    def configure(self, configs: Iterable[ModelConfig], *, wait: bool = True) -> None:
        """Takes other configs: loads models that are new, closes those that are gone, changes the others.

        A new model that cannot be loaded is tried again by `refresh`; its status says why.

        Args:
            configs: one for each model.
            wait: as for `refresh`.
        """
        before, wanted = self._models, {config.name: config for config in configs}
        self._models = {name: before.get(name) or self._new(config) for name, config in wanted.items()}
        for name, config in wanted.items():
            self._models[name].follow(config)
        self.refresh(wait=wait)
        for name in before.keys() - wanted.keys():
            logging.info("Model %s is no longer served.", name)
            before[name].close()

    def refresh(self, *, wait: bool = True) -> None:
        """Looks for other versions of every model, each in a thread of its own.

        Args:
            wait: until all have been looked at. Without it, a model that is still loading is left to its thread, and
                holds up no other.
        """
        for name, model in self._models.items():
            if name not in self._looking or self._looking[name].done() or wait:
                self._looking[name] = self._threads.submit(_look, model)
        if wait:
            futures.wait(self._looking.values())

    def stop_looking(self) -> None:
        """Waits for the versions that are being loaded; `refresh` does no more after that."""
        self._threads.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Stops serving; each model is closed when its last call has ended, or its loading."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for model in self._models.values():
            model.close()

    def _new(self, config: ModelConfig) -> ServedModel:
        model = self._make(config.name, config.base_path, policy=config.policy, labels=config.labels)
        model.while_loading = self.turns.loading
        return model


def _look(model: ServedModel) -> None:
    try:
        model.refresh()
    except OSError as error:  # a base path that cannot be read now may be readable at the next look
        logging.error("Model %s: looking for new versions failed: %s", model.name, error)
    except Exception:
        logging.exception("Model %s: looking for new versions failed.", model.name)
