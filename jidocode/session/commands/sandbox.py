"""`Sandbox`: what the commands of one session are confined by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jidocode.session.commands.environment import FOLDERS
from jidocode.session.commands.limits import CommandRules
from jidocode.session.confinement.confinement import Prepared, prepare
from jidocode.session.confinement.network import Network
from jidocode.session.confinement.rules import session_confinement
from jidocode.session.confinement.view import view

_MAX_PREPARED = 16
"""How many confinements, one for each network that was asked for, are kept ready."""


class Sandbox:
    """Confines commands to the project and the scratch folder.

    Attributes:
        rules: What the settings say about commands.
        scratch: The scratch folder.
    """

    def __init__(
        self, project: str, scratch: str, closed: Sequence[str], rules: CommandRules
    ) -> None:
        """Open *project* and *scratch* to commands; the folders *closed* stay closed."""
        self._project, self.scratch = project, scratch
        self._closed = closed
        self.rules = rules
        self._prepared: dict[Network, Prepared] = {}

    def prepared(self, network: Network) -> Prepared | None:
        """Return what confines a command with that *network*; None if none is confined.

        Raises:
            ConfinementError: It cannot be confined, or not as `Settings.sandbox` requires.
            InvalidRequestError: What is to stay closed would be open.
        """
        if self.rules.sandbox == "off":
            return None
        found = self._prepared.get(network)
        if found is None:
            if len(self._prepared) >= _MAX_PREPARED:
                self.close()
            found = self._prepared[network] = prepare(
                session_confinement(
                    self._project,
                    self.scratch,
                    closed=self._closed,
                    network=network,
                )
            )
        return found

    @property
    def uses_namespaces(self) -> bool:
        """Whether commands are in namespaces of their own, too."""
        return self.rules.sandbox == "require:namespaces"

    def world(self, prepared: Prepared | None) -> tuple[Any, ...] | None:
        """Return the fields of the `World` that a command sees; None if that is ours.

        Raises:
            ConfinementError: What it may reach cannot be shown.
        """
        if prepared is None or not self.uses_namespaces:
            return None
        temporary = f"{self.scratch}/{FOLDERS['TMPDIR']}"
        return tuple(view(prepared.confinement, self._project, temporary))

    def close(self) -> None:
        """Let go of all; who is confined stays so."""
        for prepared in self._prepared.values():
            prepared.close()
        self._prepared.clear()
