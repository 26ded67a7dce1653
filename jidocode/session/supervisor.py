"""`SessionSupervisor`: keeps the processes of one session running.

The default strategy is one_for_all: Manager and State answer for the same
session, and after a crash of either both start afresh from the same record, so
they can never disagree about it. With `Strategy.ONE_FOR_ONE` or
`Strategy.REST_FOR_ONE` a session keeps the children that are well.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import ClassVar

from jidocode.otp.supervision.specs import (
    DEFAULT_INIT_TIMEOUT,
    ChildSpec,
    ChildType,
    Flags,
    Start,
    check_children,
    pack_children,
)
from jidocode.otp.supervision.strategy import Restart, Strategy
from jidocode.otp.supervision.supervisor import Supervisor
from jidocode.session.admission.admission import Place
from jidocode.session.admission.messages import OpenSession
from jidocode.session.journal.ownership import Home
from jidocode.session.project.holding import hold_folder

DEFAULT_FLAGS = Flags(strategy=Strategy.ONE_FOR_ALL)


class SessionSupervisor(Supervisor):
    """Supervises the processes of one session."""

    kind: ClassVar[str] = "session"

    @classmethod
    def child_spec(  # type: ignore[override] # noqa: PLR0913 - needs a record; most are keywords
        cls,
        session: OpenSession,
        children: Sequence[ChildSpec],
        *,
        flags: Flags = DEFAULT_FLAGS,
        heartbeat: float | None = None,
        home: Home | None = None,
        resumes: bool = False,
    ) -> ChildSpec:
        """Return the spec of *session*'s supervisor over *children*, in start order.

        It is temporary: a session that gave up is the app's to look at, and is
        not started again behind the app's back. *session* is registered with it.
        With a *home*, no other system can open it, or its project, as long as it lives; and if
        the session *resumes*, it does not start without the journal that there was.

        Raises:
            InvalidChildSpecError: The children break a rule, or cannot be pickled.
        """
        # Packed, so that only the session's own process imports the app's classes.
        packed = pack_children(check_children(children, flags))
        return ChildSpec(
            id=session.record.id,
            start=Start(
                cls,
                flags,
                packed,
                session.place,
                session.record.project_path,
                home,
                resumes=resumes,
            ),
            restart=Restart.TEMPORARY,
            type=ChildType.SUPERVISOR,
            name=("session", session.record.id),
            value=session,
            heartbeat=heartbeat,
            init_timeout=DEFAULT_INIT_TIMEOUT
            + (home.opening_time(session.record.id) if home else 0),
        )

    def init(  # noqa: PLR0913 - a spec's arguments
        self,
        flags: Flags,
        children: bytes,
        place: Place,
        path: str,
        home: Home | None,
        *,
        resumes: bool,
    ) -> tuple[Flags, Sequence[ChildSpec]]:
        """Take the session and its folder, and return its children (called by the host, first).

        Raises:
            JournalLockedError, ProjectAlreadyOpenError: Another system has it, or its project.
            SessionNotFoundError: It was to be resumed, and has no journal any more.
            JournalError: Its journal cannot be begun.
        """
        if home is not None:
            home.own(place)  # until this process ends
            if resumes:
                home.require_journal(place.session_id)
            else:
                home.begin_journal(place.session_id)
        hold_folder(path, place.project)
        return flags, pickle.loads(children)
