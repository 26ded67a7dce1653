"""The record of a session: its rules, one by one and all together."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from attrs import evolve, frozen
from hypothesis import given, strategies as st

from jidocode.errors import InvalidSessionError, InvalidSessionIdError
from jidocode.session.project.locate import detect_language, locate_project
from jidocode.session.record import (
    Session,
    SessionConfig,
    json_object,
    new_session_id,
    validate_session_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder."""
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


@pytest.fixture
def session(project: Path) -> Session:
    """A valid record."""
    return Session.new(project_path=project)


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Run the test without root's power to read and write everything."""
    uid = os.geteuid()
    if uid == 0:
        os.seteuid(NOBODY)
    yield
    os.seteuid(uid)


def codes_of(action: Callable[[], object]) -> tuple[str, ...]:
    """The codes of the broken rules that *action* reports."""
    with pytest.raises(InvalidSessionError) as caught:
        action()
    assert len(caught.value.codes) == len(caught.value.reasons)
    return caught.value.codes


def codes_of_path(path: object) -> tuple[str, ...]:
    return codes_of(lambda: Session.new(project_path=cast("str", path)))


# ----- ids --------------------------------------------------------------------


def test_a_hundred_new_ids_are_valid_and_different() -> None:
    """Ids are lower-case UUID4s."""
    ids = {new_session_id() for _ in range(100)}

    assert len(ids) == 100
    assert {validate_session_id(value) for value in ids} == ids
    assert all(value[14] == "4" and value[19] in "89ab" for value in ids)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (None, "must be a str, not None"),
        (b"6ecd0c4e-4b0e-4a0e-8f3e-0d7d2a3c1b2a", "must be a str, not b'6ecd"),
        (7, "must be a str, not 7"),
        ("", "36 characters, not 0"),
        ("6ecd0c4e-4b0e-4a0e-8f3e-0d7d2a3c1b2a\n", "36 characters, not 37"),
        ("x" * 1_000_000, "36 characters, not 1000000"),
        ("6ECD0C4E-4B0E-4A0E-8F3E-0D7D2A3C1B2A", "lower-case UUID4"),
        ("6ecd0c4e-4b0e-1a0e-8f3e-0d7d2a3c1b2a", "lower-case UUID4"),
        ("6ecd0c4e-4b0e-4a0e-cf3e-0d7d2a3c1b2a", "lower-case UUID4"),
        ("6ecd0c4e-4b0e-4a0e-8f3e-0d7d2a3c1b\n\0", "lower-case UUID4"),
        ("٦ecd0c4e-4b0e-4a0e-8f3e-0d7d2a3c1b2a", "lower-case UUID4"),
    ],
)
def test_a_malformed_id_is_refused_in_one_short_line(value: object, complaint: str) -> None:
    """Whatever comes, the message is bounded and printable."""
    with pytest.raises(InvalidSessionIdError, match=re.escape(complaint)) as caught:
        validate_session_id(value)

    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@given(st.one_of(st.text(), st.binary(), st.integers(), st.none(), st.lists(st.text())))
def test_nothing_but_an_id_passes_for_an_id(value: object) -> None:
    """Arbitrary values give the typed error and nothing else."""
    with pytest.raises(InvalidSessionIdError):
        validate_session_id(value)


# ----- new --------------------------------------------------------------------


def test_a_new_record_holds_what_was_given_and_defaults_for_the_rest(project: Path) -> None:
    """Name, config and timestamps have defaults; the path is kept."""
    session = Session.new(project_path=str(project))

    assert session.project_path == str(project)
    assert session.name == "shop"
    assert session.config == SessionConfig()
    assert session.config.as_dict() == {
        "provider": None,
        "model": None,
        "temperature": None,
        "max_tokens": None,
    }
    assert session.created_at == session.updated_at
    assert session.created_at.utcoffset() == timedelta()
    assert session.validate() is session


def test_two_records_of_one_project_differ_in_id_only(project: Path) -> None:
    """Ids are fresh, the project's key is the project's."""
    first, second = Session.new(project_path=project), Session.new(project_path=project)

    assert first.id != second.id
    assert first.project_key == second.project_key
    assert first.project_key == (project.stat().st_dev, project.stat().st_ino)


def test_given_id_name_and_config_are_taken(project: Path) -> None:
    """A config may be a mapping or a `SessionConfig`."""
    session_id = new_session_id()
    config = {"provider": "openai", "temperature": 0, "base_url": "http://x", "tags": ["a"]}
    session = Session.new(
        project_path=project, name="My shop!", config=config, session_id=session_id
    )
    same = Session.new(project_path=project, config=session.config)

    assert (session.id, session.name) == (session_id, "My shop!")
    assert session.config.provider == "openai"
    assert session.config.temperature == 0
    assert session.config.max_tokens is None
    assert session.config.extra == {"base_url": "http://x", "tags": ["a"]}
    assert same.config == session.config


def test_a_config_cannot_be_changed_through_what_was_given_or_got(project: Path) -> None:
    """Further keys are kept as text, so that nobody shares a list with the record."""
    tags = ["a"]
    session = Session.new(project_path=project, config={"tags": tags})
    tags.append("b")
    session.config.extra["tags"].append("c")

    assert session.config.extra == {"tags": ["a"]}


def test_a_record_survives_pickling(project: Path) -> None:
    """Records cross processes."""
    session = Session.new(project_path=project, config={"base_url": "http://x"})

    assert pickle.loads(pickle.dumps(session)) == session


def test_a_malformed_id_is_refused_before_anything_else() -> None:
    """A malformed id has an error of its own, whatever else is wrong."""
    with pytest.raises(InvalidSessionIdError):
        Session.new(project_path="/nowhere", session_id="me")


def test_new_reports_all_broken_rules_in_a_fixed_order() -> None:
    """Name, path, config; each with a sentence."""
    config = {"provider": "", "model": 3, "temperature": 3, "max_tokens": 0}

    assert codes_of(lambda: Session.new(project_path="/nowhere", name="", config=config)) == (
        "invalid_name",
        "path_not_found",
        "invalid_provider",
        "invalid_model",
        "invalid_temperature",
        "invalid_max_tokens",
    )


def test_the_default_name_of_an_odd_folder_is_made_valid(tmp_path: Path) -> None:
    """Overlong and blank names, bytes that are no text and line breaks do no harm."""
    names = ["x" * 80, os.fsdecode(b"caf\xe9"), "two\nlines", "\xa0", " " * 50 + "x"]
    for name in names:
        (tmp_path / name).mkdir()
    sessions = [Session.new(project_path=tmp_path / name) for name in names]

    assert [session.name for session in sessions] == [
        "x" * 50,
        "caf\ufffd",
        "two\ufffdlines",
        "project",
        "project",
    ]
    assert [session.validate() for session in sessions] == sessions


# ----- paths ------------------------------------------------------------------


def test_a_home_path_is_expanded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` means what it means in a shell."""
    monkeypatch.setenv("HOME", str(project.parent))

    assert Session.new(project_path="~/shop").project_path == str(project)


def test_a_relative_path_counts_from_the_current_directory(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record holds the absolute path."""
    monkeypatch.chdir(project.parent)

    assert Session.new(project_path="./shop").project_path == str(project)


def test_slashes_too_many_are_dropped(project: Path) -> None:
    """Double, trailing and leading slashes and dots do not make another path."""
    assert Session.new(project_path=f"/{project}//./").project_path == str(project)


def test_a_symlink_to_a_folder_is_kept_as_given_and_names_the_same_project(project: Path) -> None:
    """The path is the user's, the key is the directory's."""
    link = project.with_name("alias")
    link.symlink_to(project)
    session = Session.new(project_path=link)

    assert session.project_path == str(link)
    assert session.project_key == Session.new(project_path=project).project_key


def test_a_bind_mount_names_the_same_project(project: Path) -> None:
    """In a mount namespace of its own, where the kernel lets us have one."""
    mounted = project.with_name("mounted")
    mounted.mkdir()
    look = "from sys import argv; from jidocode.session.project.locate import locate_project as l;"
    look += "print(l(argv[1])[1] == l(argv[2])[1])"
    # Before the mount they differ, or equal keys would show nothing.
    command = 'look() { "$1" -c "$2" "$3" "$4"; }; look "$@"; mount --bind "$3" "$4" && look "$@"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, "sh", sys.executable, look, project, mounted],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 and "unshare" in done.stderr:
        pytest.skip("there are no mount namespaces for us here")

    assert (done.stdout, done.stderr) == ("False\nTrue\n", "")


def test_two_dots_inside_a_name_are_no_traversal(tmp_path: Path) -> None:
    """Only a `..` component is refused."""
    (tmp_path / "foo..bar").mkdir()

    assert Session.new(project_path=tmp_path / "foo..bar").name == "foo..bar"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (None, "invalid_project_path"),
        (7, "invalid_project_path"),
        (b"/srv", "invalid_project_path"),
        (["/srv"], "invalid_project_path"),
        ("", "missing_project_path"),
        ("/srv\0/x", "invalid_project_path"),
        ("/srv/\ud800", "invalid_project_path"),
        ("/" + "x" * 1_000_000, "path_too_long"),
        ("/" + "é" * 2048, "path_too_long"),
        ("/" + "x" * 300, "path_too_long"),
        ("../shop", "path_traversal_detected"),
        ("/nowhere/../etc", "path_traversal_detected"),
        ("/srv/..", "path_traversal_detected"),
        ("/nowhere", "path_not_found"),
        ("/etc/passwd/x", "path_not_found"),
        ("/etc/passwd", "path_not_directory"),
    ],
)
def test_a_path_that_is_no_project_is_refused(path: object, code: str) -> None:
    """Each rule has its code; the message is one bounded line."""
    with pytest.raises(InvalidSessionError) as caught:
        Session.new(project_path=cast("str", path))

    assert caught.value.codes == (code,)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


def test_links_to_nothing_to_a_file_and_to_themselves_are_refused(tmp_path: Path) -> None:
    """A link counts as what it leads to."""
    for name, target in {"broken": "gone", "file": __file__, "loop": "loop"}.items():
        (tmp_path / name).symlink_to(target)

    assert codes_of_path(tmp_path / "broken") == ("path_not_found",)
    assert codes_of_path(tmp_path / "file") == ("path_not_directory",)
    assert codes_of_path(tmp_path / "loop") == ("path_not_found",)


def test_a_path_from_a_current_directory_that_is_gone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path means nothing then."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    assert codes_of_path(".") == ("path_not_found",)


@pytest.mark.usefixtures("unprivileged")
def test_a_project_that_may_not_be_written_is_refused_without_a_trace() -> None:
    """Permission is asked for; no probe file is tried."""
    before = sorted(Path("/usr").iterdir())

    assert codes_of_path("/usr") == ("path_permission_denied",)
    assert sorted(Path("/usr").iterdir()) == before


def test_a_project_behind_a_closed_door_is_refused(project: Path) -> None:
    """A parent that may not be searched is a question of permission, not of existence."""
    uid = os.geteuid()
    project.parent.chmod(0)
    try:
        if uid == 0:
            os.seteuid(NOBODY)
        codes = codes_of_path(project)
    finally:
        os.seteuid(uid)
        project.parent.chmod(0o755)

    assert codes == ("path_permission_denied",)


@given(st.text())
def test_any_text_as_a_path_gives_a_project_or_the_typed_error(text: str) -> None:
    """No text gets through to another exception."""
    try:
        path, key = locate_project(text)
    except InvalidSessionError:
        return

    assert (Path(path).stat().st_dev, Path(path).stat().st_ino) == key


# ----- language ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("markers", "language"),
    [
        ([], None),
        (["README.md"], None),
        (["pyproject.toml"], "python"),
        (["setup.py"], "python"),
        (["mix.exs"], "elixir"),
        (["package.json"], "javascript"),
        (["package.json", "tsconfig.json"], "typescript"),
        (["pyproject.toml", "package.json"], "python"),
        (["Cargo.toml"], "rust"),
        (["go.mod"], "go"),
    ],
)
def test_the_language_is_told_by_marker_files(
    project: Path, markers: list[str], language: str | None
) -> None:
    """The first marker of the table decides."""
    for marker in markers:
        (project / marker).touch()

    assert Session.new(project_path=project).language == language


def test_markers_in_subfolders_do_not_count(project: Path) -> None:
    """Detection looks at one directory only."""
    (project / "vendor").mkdir()
    (project / "vendor" / "go.mod").touch()

    assert detect_language(str(project)) is None


def test_language_detection_in_a_folder_that_vanished_is_a_typed_error(tmp_path: Path) -> None:
    """The folder may go between the check and the look."""
    assert codes_of(lambda: detect_language(str(tmp_path / "gone"))) == ("path_not_found",)


# ----- validate ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("id", "", "invalid_id"),
        ("id", None, "invalid_id"),
        ("name", "", "invalid_name"),
        ("name", None, "invalid_name"),
        ("name", "x" * 51, "name_too_long"),
        ("project_path", None, "invalid_project_path"),
        ("project_path", "", "missing_project_path"),
        ("project_path", "tmp", "path_not_absolute"),
        ("project_path", "~", "path_not_absolute"),
        ("project_path", "/nowhere", "path_not_found"),
        ("project_path", "/etc/passwd", "path_not_directory"),
        ("project_key", (0, 0), "project_path_changed"),
        ("config", None, "invalid_config"),
        ("config", {}, "invalid_config"),
        ("config", SessionConfig(extra_json="[]"), "invalid_config"),
        ("config", SessionConfig(extra_json="{"), "invalid_config"),
        ("config", SessionConfig(extra_json="[" * 60_000), "invalid_config"),
        ("config", SessionConfig(extra_json='{"x":' * 65 + "1" + "}" * 65), "invalid_config"),
        ("config", SessionConfig(extra_json='{"top_p": NaN}'), "invalid_config"),
        ("config", SessionConfig(extra_json='{"top_p": 1e999}'), "invalid_config"),
        ("config", SessionConfig(extra_json='{"x":"%s"}' % ("é" * 20_000)), "invalid_config"),
        ("config", SessionConfig(provider=""), "invalid_provider"),
        ("config", SessionConfig(model=" "), "invalid_model"),
        ("config", SessionConfig(temperature=-0.1), "invalid_temperature"),
        ("config", SessionConfig(temperature=2.1), "invalid_temperature"),
        ("config", SessionConfig(temperature=float("nan")), "invalid_temperature"),
        ("config", SessionConfig(temperature=True), "invalid_temperature"),
        ("config", SessionConfig(max_tokens=0), "invalid_max_tokens"),
        ("config", SessionConfig(max_tokens=-1), "invalid_max_tokens"),
        ("config", SessionConfig(max_tokens=True), "invalid_max_tokens"),
        ("config", SessionConfig(max_tokens=2**31), "invalid_max_tokens"),
        ("config", SessionConfig(max_tokens=10**5000), "invalid_max_tokens"),
        ("language", "", "invalid_language"),
        ("language", 7, "invalid_language"),
        ("created_at", None, "invalid_created_at"),
        ("created_at", "2025-12-04", "invalid_created_at"),
        ("updated_at", datetime.max.replace(tzinfo=UTC), "invalid_updated_at"),
        ("updated_at", datetime(2025, 12, 4), "invalid_updated_at"),  # noqa: DTZ001 - naive on purpose
        (
            "updated_at",
            datetime(2025, 12, 4, tzinfo=timezone(timedelta(hours=1))),
            "invalid_updated_at",
        ),
    ],
)
def test_validate_names_the_broken_rule(
    session: Session, field: str, value: object, code: str
) -> None:
    """One wrong field, one code."""
    changes: dict[str, Any] = {field: value}
    assert codes_of(evolve(session, **changes).validate) == (code,)


@pytest.mark.parametrize(
    "config",
    [
        SessionConfig(temperature=0.0),
        SessionConfig(temperature=2.0),
        SessionConfig(temperature=1),
        SessionConfig(max_tokens=1),
        SessionConfig(max_tokens=2**31 - 1),
    ],
)
def test_values_on_the_edge_are_valid(session: Session, config: SessionConfig) -> None:
    """Bounds are inclusive, and ints are numbers."""
    edge = evolve(session, config=config, name="x" * 50)

    assert edge.validate() is edge


def test_validate_reports_all_broken_rules_in_a_fixed_order(session: Session) -> None:
    """The order of the fields, whatever is wrong."""
    wrong: dict[str, Any] = {
        "updated_at": None,
        "created_at": None,
        "language": "",
        "config": None,
        "project_path": "x",
        "name": "",
        "id": "",
    }

    assert codes_of(evolve(session, **wrong).validate) == (
        "invalid_id",
        "invalid_name",
        "path_not_absolute",
        "invalid_config",
        "invalid_language",
        "invalid_created_at",
        "invalid_updated_at",
    )


@frozen(eq=False, repr=False, kw_only=True)
class TunedConfig(SessionConfig):
    """What an app might make of a config."""

    top_p: float = 0.5


@frozen(eq=False, repr=False, kw_only=True)
class OwnSession(Session):
    """What an app might make of a record."""

    owner: str = "me"


def test_a_subclass_is_refused_for_a_record_and_for_a_config(
    project: Path, session: Session
) -> None:
    """What it adds would not come back from a journal."""
    own = OwnSession.new(project_path=project)
    tuned = evolve(session, config=TunedConfig())

    assert codes_of(own.validate_values) == ("invalid_record",)
    assert codes_of(tuned.validate) == ("invalid_config",)
    assert codes_of(lambda: Session.new(project_path=project, config=TunedConfig())) == (
        "invalid_config",
    )


def test_the_values_can_be_checked_without_the_disk(project: Path, session: Session) -> None:
    """A vanished folder does not make a name wrong, nor does a wrong name pass."""
    project.rmdir()

    assert session.validate_values() is session
    assert codes_of(session.validate) == ("path_not_found",)
    assert codes_of(evolve(session, name="").validate_values) == ("invalid_name",)


def test_a_project_folder_replaced_by_another_is_noticed(project: Path, session: Session) -> None:
    """The path is the same, the directory is not."""
    project.rename(project.with_name("old"))
    project.mkdir()

    assert codes_of(session.validate) == ("project_path_changed",)


# ----- changes ----------------------------------------------------------------


def test_rename_changes_the_name_and_nothing_else(session: Session) -> None:
    """The record is new, and later."""
    renamed = session.rename("A name, with: specials")

    assert renamed.name == "A name, with: specials"
    assert renamed.updated_at > session.updated_at
    assert evolve(renamed, name=session.name, updated_at=session.updated_at) == session


@pytest.mark.parametrize("name", ["x", "x" * 50, "é" * 50, "a b", "日本　語"])
def test_a_name_may_be_any_line_of_text(session: Session, name: str) -> None:
    """One to fifty characters."""
    assert session.rename(name).name == name


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "invalid_name"),
        ("  ", "invalid_name"),
        (None, "invalid_name"),
        (123, "invalid_name"),
        ("a\nb", "invalid_name"),
        ("a\0", "invalid_name"),
        ("\x1b[31m", "invalid_name"),
        ("\ud800", "invalid_name"),
        ("x" * 51, "name_too_long"),
        ("x" * 1_000_000, "name_too_long"),
    ],
)
def test_rename_refuses_what_is_no_name(session: Session, name: object, code: str) -> None:
    """A name is one line of 1 to 50 characters."""
    assert codes_of(lambda: session.rename(cast("str", name))) == (code,)


def test_update_config_merges(session: Session) -> None:
    """New keys win, others are kept, zero is a value."""
    first = session.update_config({"temperature": 0, "seed": 7})
    second = first.update_config({"model": "m", "max_tokens": 1})

    assert second.config.as_dict() == {
        "provider": None,
        "model": "m",
        "temperature": 0,
        "max_tokens": 1,
        "seed": 7,
    }
    assert session.updated_at < first.updated_at < second.updated_at
    assert second.created_at == session.created_at
    assert session.update_config({}).config == session.config


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"provider": ""}, ("invalid_provider",)),
        ({"model": 3}, ("invalid_model",)),
        ({"temperature": "hot"}, ("invalid_temperature",)),
        ({"max_tokens": 1.5}, ("invalid_max_tokens",)),
        ({"max_tokens": 0, "model": ""}, ("invalid_model", "invalid_max_tokens")),
        (None, ("invalid_config",)),
        ([("model", "m")], ("invalid_config",)),
        ({1: 2}, ("invalid_config",)),
        ({"x": object()}, ("invalid_config",)),
        ({"x": float("inf")}, ("invalid_config",)),
        ({"x": "y" * 70_000}, ("invalid_config",)),
    ],
)
def test_update_config_reports_all_broken_rules(
    session: Session, changes: object, codes: tuple[str, ...]
) -> None:
    """Nothing is changed by a change that is refused in part."""
    assert codes_of(lambda: session.update_config(cast("dict[str, Any]", changes))) == codes


def test_a_config_nested_without_end_is_refused(session: Session) -> None:
    """A value that contains itself is no JSON."""
    endless: dict[str, Any] = {}
    endless["x"] = endless
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]

    assert codes_of(lambda: session.update_config(endless)) == ("invalid_config",)
    assert codes_of(lambda: session.update_config({"x": deep})) == ("invalid_config",)


def test_update_language_takes_a_word_or_none(session: Session) -> None:
    """Unknown is a value too."""
    assert session.update_language("zig").language == "zig"
    assert session.update_language("zig").update_language(None).language is None
    assert codes_of(lambda: session.update_language("a\nb")) == ("invalid_language",)


def test_every_change_is_later_even_if_the_clock_goes_back(session: Session) -> None:
    """The order of changes shows in `updated_at`."""
    ahead = evolve(session, updated_at=datetime.now(UTC) + timedelta(days=1))

    assert ahead.rename("x").updated_at > ahead.updated_at


@pytest.mark.parametrize("inner", [1, [], {}, ()])
def test_json_may_have_sixty_four_levels(inner: object) -> None:
    """More could be written down under a short stack that a long one cannot read again."""
    nested: Any = inner
    for _ in range(63):
        nested = [nested]
    allowed = json_object({"x": nested}, max_length=1000) is not None

    assert allowed is (inner == 1)
    assert json_object({"x": nested[0]}, max_length=1000) is not None
    assert json_object({"x": {"x": nested}}, max_length=1000) is None


def test_json_object_is_the_same_for_equal_values() -> None:
    """The order of keys does not show."""
    assert json_object({"a": 1, "b": "é"}, max_length=20) == json_object(
        {"b": "é", "a": 1}, max_length=20
    )
    assert json_object({"a": 1, "b": "é"}, max_length=19) is None
