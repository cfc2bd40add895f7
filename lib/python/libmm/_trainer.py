"""Training. SPDX-License-Identifier: MIT"""
from __future__ import annotations

import ctypes
import json
import os
from typing import Any, Callable, Dict, Optional, Union

from . import _library as _c
from ._context import Context, HangingHandle, checked, take_text
from ._library import lib
from ._model import Model

Path = Union[str, "os.PathLike[str]"]


class Trainer:
    """A training run by a configuration, a JSON file that docs/training.md explains.

        trainer = libmm.Trainer("config.json")
        trainer.run(lambda t: print(t.step, t.loss))
        print(trainer.evaluate())
    """

    def __init__(self, config: Path, context: Optional[Context] = None):
        self.context = context or Context()
        with self.context.call() as p:
            pointer = self.context.make(lib.mm_trainer_destroy, lib.mm_trainer_create, p, os.fsencode(config))
        self._handle = HangingHandle(pointer, lib.mm_trainer_destroy, self.context)
        self._model: Optional[Model] = None

    def run(self, callback: Optional[Callable[["Trainer"], Any]] = None, steps: int = 0) -> None:
        """Take `steps` steps, 0: all that are left. The callback is called with this trainer after each; a true result stops the run."""
        state = self.context._state

        def on_step(user: Any, trainer: Any) -> int:
            try:
                return 1 if callback and callback(self) else 0
            except BaseException as e:  # may not pass through C: it comes out of the call
                state.raised = state.raised or e
                return 1

        with self.context.call():
            self.context.check(lib.mm_trainer_run(self._handle.pointer, checked(steps, 64, "steps"), _c.TRAINER_FN(on_step), None))

    def resume(self) -> None:
        """Go on from the newest checkpoint of the run's folder; MM_E_NOT_FOUND where there is none."""
        with self.context.call():
            self.context.check(lib.mm_trainer_resume(self._handle.pointer))

    def checkpoint(self) -> None:
        """Write a checkpoint now."""
        with self.context.call():
            self.context.check(lib.mm_trainer_checkpoint(self._handle.pointer))

    def save(self, directory: Path) -> None:
        """Save the model as it is, or what a run of LoRA trained, in a folder."""
        with self.context.call():
            self.context.check(lib.mm_trainer_save(self._handle.pointer, os.fsencode(directory)))

    def evaluate(self) -> Dict[str, Dict[str, Any]]:
        """What the held-out examples say: by the task's name its "loss", "samples" and other measures."""
        with self.context.call():
            pointer = self.context.make(lib.mm_text_free, lib.mm_trainer_evaluate, self._handle.pointer)
        result: Dict[str, Dict[str, Any]] = json.loads(take_text(pointer))
        return result

    def _integer(self, fact: int) -> int:
        out = ctypes.c_int64()
        lib.mm_trainer_get_i64(self._handle.pointer, fact, ctypes.byref(out))
        return out.value

    def _number(self, fact: int) -> float:
        out = ctypes.c_double()
        lib.mm_trainer_get_f64(self._handle.pointer, fact, ctypes.byref(out))
        return out.value

    @property
    def step(self) -> int:
        """Steps done."""
        return self._integer(_c.MM_TRAINER_STEP)

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self._integer(_c.MM_TRAINER_STEPS)

    @property
    def parameters(self) -> int:
        """Elements that are trained."""
        return self._integer(_c.MM_TRAINER_PARAMETERS)

    @property
    def skipped(self) -> int:
        """Bad lines of the manifests that were skipped so far."""
        return self._integer(_c.MM_TRAINER_SKIPPED)

    @property
    def loss(self) -> float:
        """Of the last step; NaN before the first."""
        return self._number(_c.MM_TRAINER_LOSS)

    @property
    def gradient_norm(self) -> float:
        """Of the last step, before clipping."""
        return self._number(_c.MM_TRAINER_GRADIENT_NORM)

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return self._number(_c.MM_TRAINER_LEARNING_RATE)

    @property
    def samples_per_second(self) -> float:
        """Of the last run()."""
        return self._number(_c.MM_TRAINER_SAMPLES_PER_SECOND)

    @property
    def output(self) -> str:
        """The run's folder."""
        return os.fsdecode(lib.mm_trainer_output(self._handle.pointer))

    @property
    def model(self) -> Model:
        """The model that is trained: what it answers changes with it. It may be used between the trainer's calls."""
        if self._model is None:
            self._model = Model._borrowed(lib.mm_trainer_model(self._handle.pointer), self.context)
        return self._model


def evaluate(model: Model, config: Path) -> Dict[str, Dict[str, Any]]:
    """The same of an opened model by the tasks of a configuration: of a task with a validation manifest that, of another all its examples."""
    context = model.context
    with context.call() as p:
        pointer = context.make(lib.mm_text_free, lib.mm_evaluate, p, model._handle.pointer, os.fsencode(config))
    result: Dict[str, Dict[str, Any]] = json.loads(take_text(pointer))
    return result
