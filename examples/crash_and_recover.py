"""Kill every process of a session, one after the other, and watch it come back.

Run it as `python examples/crash_and_recover.py [PROJECT]`.
"""

import os
import signal
import sys
import time
from tempfile import TemporaryDirectory

from word_counter import WordCounter

from jidocode import ChildSpec, Health, NotTextError, SessionHandle, SessionSystem


def show_project(session: SessionHandle) -> None:
    """Read the project through the session's Manager."""
    listing = session.manager.list_directory()
    files = [entry.name for entry in listing.entries if entry.kind == "file"]
    print(f"  {len(listing.entries)} entries at the top of {session.session.project_path}")
    for name in files[:3]:
        try:
            lines = session.manager.read_file(name, limit=1).text.splitlines()
        except NotTextError:
            print(f"  {name}: (no text)")
        else:
            print(f"  {name}: {lines[0][:60] if lines else '(empty)'}")


def kill(system: SessionSystem, session: SessionHandle, child_id: str) -> None:
    """Kill one child with signal 9, and show what becomes of the session."""
    before = {info.id: info.ref for info in session.which_children()}
    victim = system.get_process(session.id, child_id)
    monitor = session.monitor(child_id)
    killed_at = time.perf_counter()
    os.kill(victim.os_pid, signal.SIGKILL)
    down = monitor.wait(timeout=10)
    if down is None:
        sys.exit(f"nobody noticed the death of {victim}")
    health = wait_until_healthy(session)
    recovered = 1000 * (time.perf_counter() - killed_at)

    print(f"\nkill -9 {victim.os_pid} ({child_id}): {down.reason}; recovered in {recovered:.1f} ms")
    for child in health.children:
        old, new = before[child.id], child.ref
        if old and new:
            fate = "kept" if old == new else f"-> {new.os_pid}"
            registered = system.whereis((child.id, session.id)) == new
            print(
                f"  {child.id}: pid {old.os_pid} {fate}, {child.status.value}, "
                f"registry agrees: {registered}"
            )
    print(f"  session {session.session.id} is {health.status.value}")


def wait_until_healthy(session: SessionHandle) -> Health:
    """Ask until all children answer."""
    deadline = time.monotonic() + 10
    while (health := session.health_check()).status.value != "healthy":
        if time.monotonic() > deadline:
            sys.exit(f"the session did not recover: {health}")
    return health


def main(project: str) -> None:
    """Run the demonstration on *project*."""
    with TemporaryDirectory() as state_dir, SessionSystem(state_dir=state_dir) as system:
        host = system.host_pid
        counter = ChildSpec(id="counter", start=WordCounter)
        session = system.create_session(project, children=[counter])
        print("The live tree:\n")
        print(system.tree())

        print("\nThe project, read by the Manager:\n")
        show_project(session)

        print("\nThe conversation, kept by State:\n")
        for text in ("why does checkout fail?", "look at the tests first"):
            message = session.state.append_message("user", text)
            print(f"  message {message.seq}: {message.content}")

        for child in session.which_children():
            kill(system, session, child.id)

        print("\nThe live tree now:\n")
        print(system.tree())
        pids = [host, *pids_of(system)]
    left = [pid for pid in pids if os.path.exists(f"/proc/{pid}")]  # noqa: PTH110 - shorter
    print(f"\nClosed. Processes left: {len(left)} of {len(pids)}")


def pids_of(system: SessionSystem) -> list[int]:
    """Return the pids of all processes in the tree."""
    nodes = [system.tree()]
    for node in nodes:
        nodes.extend(node.children)
    return [node.ref.os_pid for node in nodes if node.ref]


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ".")
