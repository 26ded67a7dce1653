"""A running system looks where its environment said at its start, whatever the app's says later."""

from __future__ import annotations

from pathlib import Path

import pytest
from colleagues import colleagues

from jidocode import InvalidRequestError, InvalidSessionError, SessionSystem


def test_journals_and_secrets_stay_where_they_were(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what keeps projects and commands away from them."""
    first = tmp_path / "first"
    (first / "jidocode").mkdir(parents=True)
    later = project / "later"
    later.mkdir()
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(first))
    with SessionSystem(durability="process") as system:
        for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR", "HOME"):
            monkeypatch.setenv(name, str(later))
        session = system.create_session(project)  # what is in it now is no secret of anybody's
        session.state.append_message("user", "hello")

        assert (first / "jidocode" / f"{session.id}.jsonl").exists()
        assert next(each["seq"] for each in system.export_session(session.id)) == 1
        with pytest.raises(InvalidRequestError, match="must stay closed"):
            session.run("true", read=[str(first)])
        with pytest.raises(InvalidSessionError) as caught:
            system.create_session(first)
        assert caught.value.codes == ("path_not_private",)
        session.stop()
        assert [each.session_id for each in system.list_resumable()] == [session.id]
    assert list(later.iterdir()) == []


def test_who_attaches_keeps_away_from_the_secrets_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not from where it would look itself, later."""
    first = tmp_path / "first"
    first.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(first))
    with colleagues(1) as (owner,):
        owner.do(f"system = SessionSystem(name='till', state_dir={str(tmp_path / 'state')!r})")
        with SessionSystem.attach("till") as system:
            monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
            with pytest.raises(InvalidSessionError) as caught:
                system.create_session(first)
            assert caught.value.codes == ("path_not_private",)
        owner.do("system.close()")
