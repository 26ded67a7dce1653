"""Where settings come from, and how bad ones are refused."""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import fields
from hypothesis import given, strategies as st
from loguru import logger

from jidocode import CommandLimits, SessionSystem, Settings, Strategy
from jidocode.errors import InvalidSettingError
from jidocode.system.rules import CreationRate
from jidocode.system.settings import ApplicationSettings, SettingsOverrides, default_state_dir

DOCS = Path(__file__).parents[2] / "docs"
NAMES = [each.name for each in fields(Settings)]
WriteFile = Callable[[str], Path]


def only(name: str, value: Any) -> Settings:
    """Return settings of which one is not the default."""
    return Settings(**{name: value})


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    """Writes a file of settings."""

    def write(text: str) -> Path:
        path = tmp_path / "jidocode.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What jidocode logs."""
    lines: list[str] = []
    number = logger.add(lambda message: lines.append(message.record["message"]), level="WARNING")
    logger.enable("jidocode")
    yield lines
    logger.disable("jidocode")
    logger.remove(number)


def test_keywords_come_before_variables_before_the_file_before_defaults(
    write_file: WriteFile,
) -> None:
    """Each setting by itself."""
    path = write_file("max_sessions = 1\nmax_restarts = 1\nmax_seconds = 1\n")
    environ = {"JIDOCODE_MAX_SESSIONS": "2", "JIDOCODE_MAX_RESTARTS": "2"}
    settings = Settings.load(path, environ=environ, max_sessions=3)

    assert settings == Settings(max_sessions=3, max_restarts=2, max_seconds=1)


def test_without_any_source_there_are_the_defaults() -> None:
    """And the variables of the process are what is read unless others are given."""
    assert Settings.load(environ={}) == Settings()


def test_the_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the time of the call."""
    monkeypatch.setenv("JIDOCODE_MAX_SESSIONS", "4")

    assert Settings.load().max_sessions == 4
    assert Settings().max_sessions == 10


EVERY_SETTING: dict[str, tuple[str, str, Any]] = {
    "max_sessions": ("12", "12", 12),
    "creation_rate": ("5/2.5", '"5/2.5"', CreationRate(5, 2.5)),
    "allow_nested": ("true", "true", True),
    "hard_links": ("false", "false", False),
    "strategy": ("rest_for_one", '"rest_for_one"', Strategy.REST_FOR_ONE),
    "max_restarts": ("0", "0", 0),
    "max_seconds": ("0.5", "0.5", 0.5),
    "heartbeat": ("none", '"none"', None),
    "event_buffer": ("1", "1", 1),
    "state_dir": ("/var/lib/shop", '"/var/lib/shop"', Path("/var/lib/shop")),
    "durability": ("power", '"power"', "power"),
    "policy_timeout": ("60", "60.0", 60.0),
    "max_commands": ("3", "3", 3),
    "snapshots_kept": ("3", "3", 3),
    "snapshot_size": ("3", "3", 3),
    "snapshot_file_size": ("0", "0", 0),
    "snapshot_files": ("3", "3", 3),
    "sandbox": ("off", '"off"', "off"),
    "protected_paths": (".envrc, a/*.sh", '[".envrc", "a/*.sh"]', [".envrc", "a/*.sh"]),
    "protected_changes": ("refuse", '"refuse"', "refuse"),
    "command_timeout": ("7.5", "7.5", 7.5),
    "command_output_limit": ("4096", "4096", 4096),
    "command_read": ("/opt/a:/opt/b", '["/opt/a", "/opt/b"]', ["/opt/a", "/opt/b"]),
    "command_write": ("/opt/a", '["/opt/a"]', ("/opt/a",)),
    "command_limits": ("cpu=60, data=none", '"cpu=60,data=none"', CommandLimits(cpu=60, data=None)),
    "idle_timeout": ("60", "60", 60.0),
    "preload": ("shop.agents, shop", '["shop.agents", "shop"]', ["shop.agents", "shop"]),
    "python": ("/opt/python", '"/opt/python"', Path("/opt/python")),
    "call_timeout": ("1e3", "1e3", 1000.0),
    "start_timeout": ("7", "7", 7),
    "shutdown": ("7", "7.0", 7),
    "exit_grace": ("2", "2.0", 2),
}


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_a_variable_and_a_key(name: str, write_file: WriteFile) -> None:
    """With its name, and the same value as the keyword's."""
    text, toml, value = EVERY_SETTING[name]
    path = write_file(f"{name} = {toml}\n")
    expected = only(name, value)

    assert Settings.load(environ={f"JIDOCODE_{name.upper()}": text}) == expected
    assert Settings.load(path, environ={}) == expected
    assert expected != Settings()


@pytest.mark.parametrize("name", ["creation_rate", "heartbeat", "state_dir"])
def test_none_is_written_in_words(name: str) -> None:
    """For TOML and the environment have no None."""
    settings = Settings.load(environ={f"JIDOCODE_{name.upper()}": "none"})

    assert settings == only(name, None)


BAD: list[tuple[str, Any, str]] = [
    ("preload", ["shop", "no module"], "names of modules, in a list or a tuple"),
    ("preload", [1], "names of modules, in a list or a tuple"),
    ("preload", 7, "names of modules, in a list or a tuple"),
    ("protected_paths", ["/etc"], "relative paths without '.', '..' and '**', in a list"),
    ("protected_paths", "a, ../b", "relative paths"),
    ("protected_changes", "undo", "one of report, refuse, got 'undo'"),
    ("max_sessions", 0, "an int > 0 and < 2**31, got 0"),
    ("max_sessions", True, "an int > 0 and < 2**31, got True"),
    ("max_sessions", "ten", "an int > 0 and < 2**31, got 'ten'"),
    ("max_sessions", "9" * 5000, "an int > 0 and < 2**31, got '999"),
    ("event_buffer", 0, "an int > 0 and < 2**31, got 0"),
    ("max_restarts", -1, "an int >= 0 and < 2**31, got -1"),
    ("max_restarts", 2.0, "an int >= 0 and < 2**31, got 2.0"),
    ("event_buffer", 2**63, "an int > 0 and < 2**31, got 9223372036854775808"),
    ("shutdown", 1e10, "seconds > 0 and <= 1e9, got 10000000000.0"),
    ("max_seconds", float("inf"), "seconds > 0 and <= 1e9, got inf"),
    ("call_timeout", "1e999", "seconds > 0 and <= 1e9, got '1e999'"),
    ("call_timeout", float("nan"), "seconds > 0 and <= 1e9, got nan"),
    ("start_timeout", 0, "seconds > 0 and <= 1e9, got 0"),
    ("shutdown", -1.5, "seconds > 0 and <= 1e9, got -1.5"),
    ("heartbeat", 0, "seconds > 0 and <= 1e9, or none, got 0"),
    ("allow_nested", 1, "true or false, got 1"),
    ("allow_nested", "maybe", "true or false, got 'maybe'"),
    ("strategy", 1, "one_for_one, one_for_all, rest_for_one"),
    ("strategy", "simple", "one_for_one, one_for_all, rest_for_one"),
    ("sandbox", "on", "one of auto, require:kernel, require:namespaces, off, got 'on'"),
    ("command_read", "opt", "absolute paths, in a list or a tuple"),
    ("command_read", "/opt:", "absolute paths, in a list or a tuple"),
    ("command_read", ["/opt", "usr"], "absolute paths, in a list or a tuple"),
    ("command_write", "/a\0b", "absolute paths, in a list or a tuple"),
    ("command_write", 7, "absolute paths, in a list or a tuple"),
    ("command_limits", "cpu", "a CommandLimits (as text: such as cpu=60,data=none)"),
    ("command_limits", "cpu=-1", "a CommandLimits (as text: such as cpu=60,data=none)"),
    ("command_limits", "speed=1", "a CommandLimits (as text: such as cpu=60,data=none)"),
    ("command_limits", 7, "a CommandLimits (as text: such as cpu=60,data=none)"),
    ("durability", "disk", "one of process, power, memory, got 'disk'"),
    ("durability", 1, "one of process, power, memory, got 1"),
    ("creation_rate", "30", "30/10), or none, got '30'"),
    ("creation_rate", "0/10", "30/10), or none, got '0/10'"),
    ("creation_rate", "30/10/5", "30/10), or none, got '30/10/5'"),
    ("creation_rate", 30, "30/10), or none, got 30"),
    ("state_dir", "", "the path of a folder, or none, got ''"),
    ("state_dir", "a\0b", r"the path of a folder, or none, got 'a\x00b'"),
    ("state_dir", "~no-such-user-here/x", "the path of a folder, or none, got '~no-such"),
    ("state_dir", 7, "the path of a folder, or none, got 7"),
]


@pytest.mark.parametrize(("name", "value", "told"), BAD)
def test_a_bad_keyword_says_what_was_expected(name: str, value: Any, told: str) -> None:
    """The same from `Settings`, `load` and `SessionSystem`, and nothing is started."""
    for make in (Settings, Settings.load, SessionSystem):
        with pytest.raises(InvalidSettingError, match=re.escape(told)) as refused:
            make(**{name: value})

        assert refused.value.setting == name
        assert refused.value.origin == "keyword argument"
        assert str(refused.value).startswith(f"{name} must be ")


@pytest.mark.parametrize(("name", "value", "told"), BAD)
def test_a_bad_value_in_a_file_names_the_file_and_its_key(
    name: str, value: Any, told: str, write_file: WriteFile
) -> None:
    """Whatever other sources say of that setting."""
    toml = str(value).lower()
    if isinstance(value, str):
        toml = '"' + value.replace("\0", r"\u0000") + '"'
    path = write_file(f"{name} = {toml}")
    with pytest.raises(InvalidSettingError, match=re.escape(told)) as refused:
        Settings.load(path, environ={}, **{name: getattr(Settings(), name)})

    assert refused.value.setting == name
    assert refused.value.origin.startswith("key in '")


@pytest.mark.parametrize(("name", "value", "told"), [bad for bad in BAD if isinstance(bad[1], str)])
def test_a_bad_value_in_a_variable_names_the_variable(name: str, value: str, told: str) -> None:
    """Whatever other sources say of that setting."""
    variable = f"JIDOCODE_{name.upper()}"
    with pytest.raises(InvalidSettingError, match=re.escape(told)) as refused:
        Settings.load(environ={variable: value}, **{name: getattr(Settings(), name)})

    assert refused.value.setting == name
    assert refused.value.origin == f"variable {variable}"


@given(name=st.sampled_from(NAMES), text=st.text())
def test_any_text_is_a_value_or_refused_in_one_bounded_line(name: str, text: str) -> None:
    """And never anything else."""
    told = ""
    try:
        Settings.load(environ={f"JIDOCODE_{name.upper()}": text})
    except InvalidSettingError as refused:
        told = str(refused)

    assert len(told) < 300
    assert told.isprintable()


def test_an_unknown_key_is_an_error_with_a_hint(write_file: WriteFile) -> None:
    """Nothing else has a place in that file, so it is a slip."""
    with pytest.raises(InvalidSettingError, match="'max_sesions' is no setting; did you mean max"):
        Settings.load(write_file("max_sesions = 3"), environ={})
    with pytest.raises(InvalidSettingError, match="'jidocode' is no setting"):
        Settings.load(write_file("[jidocode]\nmax_sessions = 3"), environ={})


def test_an_unknown_keyword_is_a_type_error() -> None:
    """As everywhere in Python."""
    with pytest.raises(TypeError, match="max_sesions"):
        Settings.load(environ={}, max_sesions=3)  # type: ignore[call-arg] # on purpose


def test_whoever_passes_settings_on_names_all_of_them() -> None:
    """What `SessionSystem` and `Settings.load` take is what `Settings` takes, type by type."""
    taken = typing.get_type_hints(Settings.__init__)
    del taken["return"]

    assert typing.get_type_hints(SettingsOverrides) == taken
    assert list(SettingsOverrides.__annotations__) == [each.name for each in fields(Settings)]


def test_a_strategy_may_be_its_text() -> None:
    """As in a file; what is none is refused."""
    assert Settings(strategy="one_for_one").strategy is Strategy.ONE_FOR_ONE
    assert Settings().session_flags("rest_for_one").strategy is Strategy.REST_FOR_ONE
    with pytest.raises(InvalidSettingError, match="strategy must be a Strategy"):
        Settings(strategy="one for one")  # type: ignore[arg-type] # on purpose


def test_an_unknown_variable_is_logged_and_ignored(log: list[str]) -> None:
    """The environment belongs to everybody; the value, which may be a secret, is not logged."""
    environ = {"JIDOCODE_MAX_SESION": "secret", "PATH": "/bin", "jidocode_max_sessions": "3"}
    settings = Settings.load(environ=environ)

    assert settings == Settings()
    assert log == ["'JIDOCODE_MAX_SESION' is no setting; did you mean JIDOCODE_MAX_SESSIONS?"]


@pytest.mark.parametrize("content", [b"max_sessions = ", b"\xff", b"a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_refused(content: bytes, tmp_path: Path) -> None:
    """With the file and the place."""
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(InvalidSettingError, match="the file cannot be read as TOML") as refused:
        Settings.load(path, environ={})

    assert "'/" in refused.value.origin


def test_a_missing_file_is_an_ordinary_error(tmp_path: Path) -> None:
    """The app has named it, so it is not passed over."""
    with pytest.raises(FileNotFoundError):
        Settings.load(tmp_path / "nowhere.toml", environ={})


def test_a_state_directory_is_expanded_and_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So it stays what it is when the current folder changes."""
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.chdir(tmp_path)

    assert Settings(state_dir=Path("~/state")).state_dir == Path("/home/ada/state")
    assert Settings.load(environ={}, state_dir="state").state_dir == tmp_path / "state"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/ada"}, "/state/jidocode"),
        ({"XDG_STATE_HOME": "", "HOME": "/home/ada"}, "/home/ada/.local/state/jidocode"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/ada"}, "/home/ada/.local/state/jidocode"),
        ({}, str(Path.home() / ".local/state/jidocode")),
    ],
)
def test_the_default_state_directory_follows_xdg(environ: dict[str, str], expected: str) -> None:
    """A relative one is ignored, as the specification says."""
    assert default_state_dir(environ) == Path(expected)


def test_default_state_directory_reads_the_environment_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unless another one is given."""
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")

    assert default_state_dir() == default_state_dir(os.environ) == Path("/elsewhere/jidocode")


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_explained(name: str) -> None:
    """In its docstring, with the default, and in a row of the page on settings."""
    docstring = " ".join((f"{ApplicationSettings.__doc__} {Settings.__doc__}").split())
    entry = re.split(f" (?:{'|'.join(NAMES)}): ", docstring.split(f" {name}: ")[1])[0]
    page = (DOCS / "settings.md").read_text("utf-8")

    assert "default" in entry
    assert f"| `{name}` | `JIDOCODE_{name.upper()}` |" in page


def test_the_file_on_the_page_has_every_setting_at_its_default(write_file: WriteFile) -> None:
    """So that it can be copied and changed."""
    page = (DOCS / "settings.md").read_text("utf-8")
    (toml,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)

    assert sorted(re.findall(r"^(\w+) =", toml, re.MULTILINE)) == sorted(NAMES)
    assert Settings.load(write_file(toml), environ={}) == Settings()
