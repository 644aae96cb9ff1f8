"""Template files: what is read, and what is refused before it can do harm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batch.bland.payloads import SCHEMA
from batch.errors import TemplateError
from batch.templates.files import Bounds
from batch.templates.folder import TemplateFolder


def folder_of(path: Path, **bounds: int) -> TemplateFolder:
    return TemplateFolder(path, SCHEMA, environ={}, bounds=Bounds(**bounds))


def refusal(path: Path, text: str, *, suffix: str = "yaml", **bounds: int) -> str:
    """What is said of a template of this text."""
    (path / f"t.{suffix}").write_text(text, encoding="utf-8")
    with pytest.raises(TemplateError) as refused:
        folder_of(path, **bounds).get("t")
    return str(refused.value)


@pytest.mark.parametrize(
    "name", ["../t", "sub/t", "/etc/passwd", "..", ".t", "a\\b", "t\n", "a\0b", "x" * 200, "C:t"]
)
def test_names_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    """No name leads out of the folder, and a name that could is refused as such."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for place in ("t.yaml", "sub/t.yaml", "in/sub/t.yaml", "in/.t.yaml"):
        (tmp_path / place).write_text("codec_config: {transcode: true}", encoding="utf-8")
    with pytest.raises(TemplateError, match=r"names no template|there is no template"):
        folder_of(tmp_path / "in").get(name)


@pytest.mark.parametrize("link", ["../outside.yaml", "/etc/hostname", "sub/../../outside.yaml"])
def test_links_out_of_the_folder_are_refused(tmp_path: Path, link: str) -> None:
    """A symbolic link that leaves the folder is no template."""
    (tmp_path / "outside.yaml").write_text("codec_config: {transcode: true}", encoding="utf-8")
    folder = tmp_path / "templates"
    (folder / "sub").mkdir(parents=True)
    (folder / "t.yaml").symlink_to(link)
    with pytest.raises(TemplateError, match="leads out of the folder"):
        folder_of(folder).get("t")


def test_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    """A link to another file of the folder is that template under a second name, also in a linked folder."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "t.yaml").write_text("codec_config: {transcode: true}", encoding="utf-8")
    (tmp_path / "real" / "also.yaml").symlink_to("t.yaml")
    (tmp_path / "linked").symlink_to("real")
    folder = folder_of(tmp_path / "linked")
    assert folder.get("also").body() == folder.get("t").body() == {"codec_config": {"transcode": True}}


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A pipe is not waited for, and a link to nothing is named."""
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "gone.yaml").symlink_to("nothing.yaml")
    (tmp_path / "self.yaml").symlink_to("self.yaml")
    folder = folder_of(tmp_path)
    for name, said in (("pipe", "no regular file"), ("gone", "not there"), ("self", "not there")):
        with pytest.raises(TemplateError, match=said):
            folder.get(name)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A folder that is not there, or is a file, is named together with the option that names another."""
    (tmp_path / "file").touch()
    for name, said in (("nothing", "is not there"), ("file", "is no folder")):
        with pytest.raises(TemplateError, match=rf"{name}: .*{said}.*--templates"):
            folder_of(tmp_path / name).names()


def test_other_files_are_let_be(tmp_path: Path) -> None:
    """Only .yaml, .yml and .json are templates; hidden files, folders and others are not looked at."""
    for name in ("a.yaml", "b.YML", "c.json", ".hidden.yaml", "README.md", "d.yaml~"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    (tmp_path / "folder.yaml").mkdir()
    assert folder_of(tmp_path).names() == ("a", "b", "c")


def test_one_name_twice_is_an_error(tmp_path: Path) -> None:
    """Of two files of one name neither is taken silently."""
    (tmp_path / "t.yaml").write_text("codec_config: {transcode: true}", encoding="utf-8")
    (tmp_path / "t.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TemplateError, match=r"t\.json: is not the only template .* t\.yaml too"):
        folder_of(tmp_path).get("t")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!python/object/apply:os.system [x]", '1: holds the tag "!!python/object/apply:os.system"'),
        ("codec_config: !include other.yaml", '1: holds the tag "!include"'),
        ("!!map {}", '1: holds the tag "!!map"'),
        ("!!str description: x", '1: holds the tag "!!str"'),
        ("a: 1\nb: 2\na: 3", '3: holds the key "a" again, after line 1'),
        ("? [a, b]\n: 1", "1: holds a key that is not a plain word"),
        ("a: &x {b: *x}", "within what it stands for"),
        ("a: *nothing", '1: has the alias "*nothing" of nothing'),
        ("a: b: c", "1: is no YAML: mapping values are not allowed"),
        ("a:\n\t- b", "2: is no YAML"),
        ("", "t.yaml: is empty"),
        ("--- {}\n--- {}\n", "2: holds a second document"),
        ("- a", "holds no `key: value` lines"),
        ("text", "holds no `key: value` lines"),
        ("a: \x07", "a character that text never has"),
    ],
)
def test_yaml_that_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """YAML that could mean something else, or do something, is refused by its line."""
    assert said in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', 'the key "a" twice'),
        ('{\n"a": 1,\n}', "t.json:3: is no JSON"),
        ('{"a": NaN}', "holds NaN"),
        ('{"a": 1e999}', "beyond what"),
        ('{"a": ' + "9" * 5000 + "}", "too many digits"),
        ('{"a": "\\ud83d"}', "half a character"),
        ("[" * 100_000, "levels deep"),
        ("[]", "holds no `key: value` lines"),
    ],
)
def test_json_that_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """JSON is held to the same, and what Python would read beyond the standard is refused."""
    assert said in refusal(tmp_path, text, suffix="json")


def test_bounds(tmp_path: Path) -> None:
    """Size, depth, number of values and aliases are bounded, and the message says by what."""
    bomb = "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}' if i else 'x'] * 10)}]\n" for i in range(9))
    aliases = "a: &a 1\nb: [" + "*a, " * 101 + "]"
    assert "larger than 262,144 bytes" in refusal(tmp_path, "#" * 300_000)
    assert "more than 32 levels deep" in refusal(tmp_path, "[" * 40 + "]" * 40)
    assert "more than 32 levels deep" in refusal(tmp_path, "a: " + "[" * 200_000)
    assert "more than 10,000 values, aliases followed" in refusal(tmp_path, bomb)
    assert "more than 10,000 values" in refusal(tmp_path, "a: [" + "x, " * 10_001 + "]")
    assert "more than 100 aliases" in refusal(tmp_path, aliases)
    assert "more than 32 levels deep" in refusal(
        tmp_path, "a: &a " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*a" + "]" * 20
    )
    (tmp_path / "t.yaml").unlink()
    assert "more than 32 levels deep" in refusal(tmp_path, '{"a": ' * 40 + "1" + "}" * 40, suffix="json")
    (tmp_path / "t.json").unlink()
    assert "larger than 10 bytes" in refusal(tmp_path, "a: 1 # a comment", file_bytes=10)


def test_encodings(tmp_path: Path) -> None:
    """UTF-8 is read with a byte order mark and without; anything else is refused by its line."""
    (tmp_path / "bom.yaml").write_bytes(
        b"\xef\xbb\xbfdescription: caf\xc3\xa9\r\ncodec_config: {transcode: true}\r\n"
    )
    (tmp_path / "utf16.yaml").write_bytes("description: x".encode("utf-16"))
    (tmp_path / "latin1.yaml").write_bytes(b"codec_config: {}\ndescription: caf\xe9")
    folder = folder_of(tmp_path)
    assert folder.get("bom").description == "café"
    for name, place in (("utf16", "utf16.yaml:1"), ("latin1", "latin1.yaml:2")):
        with pytest.raises(TemplateError, match=f"{place}: is not UTF-8"):
            folder.get(name)


def test_scalars_mean_what_they_look_like(tmp_path: Path) -> None:
    """Plain true, yes and on are true; whatever YAML readers differ on stays the text it is."""
    (tmp_path / "t.yaml").write_text(
        "codec_config: {a: yes, b: Off, c: TRUE, d: 'yes', e: 5061, f: 1.5, g: 0640, h: 1_000, "
        "i: 12:30:00, j: 2024-01-01, k: .inf, l: 0x1F, on: 1e3, m: -1}",
        encoding="utf-8",
    )
    values = folder_of(tmp_path).get("t").body()["codec_config"]
    assert values == {
        "a": True,
        "b": False,
        "c": True,
        "d": "yes",
        "e": 5061,
        "f": 1.5,
        "g": "0640",
        "h": "1_000",
        "i": "12:30:00",
        "j": "2024-01-01",
        "k": ".inf",
        "l": "0x1F",
        "on": "1e3",
        "m": -1,
    }


def test_aliases_repeat_what_they_name(tmp_path: Path) -> None:
    """An alias stands for what was named before it, within the bounds."""
    (tmp_path / "t.yaml").write_text(
        "failover_config:\n  endpoints: [&first {host: a.example.com}, *first]\n", encoding="utf-8"
    )
    assert folder_of(tmp_path).get("t").body() == {
        "failover_config": {"endpoints": [{"host": "a.example.com"}, {"host": "a.example.com"}]}
    }
