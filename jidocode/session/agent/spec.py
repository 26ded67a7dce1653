"""`ModelSpec`: a model by its name, made in the process that uses it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from attrs import Attribute, field, frozen

from jidocode.base import log
from jidocode.base.contained import is_of_signal
from jidocode.base.records import Record
from jidocode.base.text import describe, line, quote, raised_at
from jidocode.errors import InvalidModelError
from jidocode.session.agent.model import Model

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)

OPENAI_MODEL = "jidocode.session.agent.openai_model:OpenAIModel"
"""The name of the model that jidocode brings along."""


def _dotted(_instance: object, _attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidModelError(f"the name of a model is package.module:Class, not {quote(value)}")


def _texts(_instance: object, _attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, Mapping) or not all(
        isinstance(key, str) for key in cast("Mapping[object, object]", value)
    ):
        raise InvalidModelError("the options of a model are a mapping from their names")


@frozen(eq=False, repr=False)
class ModelSpec(Record):
    """A model: what makes it, and with what. Its process makes it, and so each of its lives.

    Attributes:
        name: `package.module:Class`, of a class, or a function, that returns a `Model`;
            `OpenAIModel` by default.
        options: Its keyword arguments. They are never shown; they are pickled on their way to
            the model's process, as everything is that a child is started with.

    Raises:
        InvalidModelError: It is no name, or these are no options.
    """

    name: str = field(default=OPENAI_MODEL, validator=_dotted)
    options: Mapping[str, Any] = field(factory=dict[str, Any], repr=False, validator=_texts)

    @property
    def preload(self) -> str:
        """The module that a host imports before it forks, so that an agent costs little."""
        module = "preload" if self.name == OPENAI_MODEL else "server"
        return f"jidocode.session.agent.{module}"

    def make(self) -> Model:
        """Return the model, here.

        Raises:
            InvalidModelError: It cannot be imported, does not take the options, or is no model.
        """
        module, _, attribute = self.name.partition(":")
        try:
            made = getattr(import_module(module), attribute)
        except BaseException as error:  # whatever an app's own module raises
            if is_of_signal(error):
                raise
            raise InvalidModelError(f"there is no model {self.name}: {describe(error)}") from error
        problem = ""
        try:
            model = made(**self.options)
        except InvalidModelError:
            raise
        except BaseException as error:  # whatever it is, it may quote a key
            if is_of_signal(error):
                raise
            problem = type(error).__name__
            if isinstance(error, TypeError) and _of_python(error):
                # Its words about arguments have their names in them, and not their values.
                problem = describe(error)
            log.warning("the model {} cannot be made: it raised {}", self.name, raised_at(error))
        else:
            return self._checked(model)
        raise InvalidModelError(f"the model {self.name} cannot be made with its options: {problem}")

    def _checked(self, model: object) -> Model:
        for name in ("stream", "aclose"):
            if not callable(getattr(model, name, None)):
                raise InvalidModelError(
                    f"{self.name} must make an object with the methods stream and aclose, "
                    f"and made a {line(type(model).__name__)}, which has no {name}"
                )
        return cast("Model", model)


def _of_python(error: TypeError) -> bool:
    """Whether Python found the arguments wrong, before the class could."""
    return error.__traceback__ is not None and error.__traceback__.tb_next is None
