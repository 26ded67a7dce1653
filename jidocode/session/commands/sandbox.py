"""`Sandbox`: what the commands of one session are confined by."""

from __future__ import annotations

from collections.abc import Sequence

from jidocode.errors import ConfinementError
from jidocode.session.commands.limits import CommandRules
from jidocode.session.confinement.confinement import Prepared, prepare
from jidocode.session.confinement.network import Network
from jidocode.session.confinement.rules import session_confinement

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
        if self.rules.sandbox == "require:namespaces":
            raise ConfinementError("commands are not confined by namespaces so far")
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

    def close(self) -> None:
        """Let go of all; who is confined stays so."""
        for prepared in self._prepared.values():
            prepared.close()
        self._prepared.clear()
