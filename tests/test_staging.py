"""Promises of `batch.staging`: a file is there whole, or not at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from batch.errors import ReportError
from batch.staging import FileDigest, Staging

WAY_ON = "Mend that, then go on."

#: Writes 3 MB in a process of its own, under a limit or until it is killed.
SCRIPT = """
import os, resource, signal, sys
from pathlib import Path
from batch.errors import ReportError
from batch.staging import Staging

if "limited" in sys.argv:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    with Staging(Path(sys.argv[1]), way_on="Make room.") as staging:
        file = staging.file("results.csv")
        for _ in range(10):
            file.write(b"x" * 300_000)
            if "killed" in sys.argv:
                os.kill(os.getpid(), signal.SIGKILL)
        staging.commit()
except ReportError as error:
    sys.exit(str(error))
"""


def run_script(folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", SCRIPT, folder, how], capture_output=True, text=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    """Before the commit there is nothing under the name, afterwards all that was written."""
    with Staging(tmp_path / "run", way_on=WAY_ON) as staging:
        file = staging.file("results.csv")
        file.write(b"one\n")
        assert not (tmp_path / "run" / "results.csv").exists()
        file.write(b"two\n")
        digest = staging.finish()["results.csv"]
        staging.commit()
    assert (tmp_path / "run" / "results.csv").read_bytes() == b"one\ntwo\n"
    assert names(tmp_path / "run") == ["results.csv"]
    assert digest == FileDigest.of(tmp_path / "run" / "results.csv")
    assert digest.size_bytes == 8


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Files are 0600 and the folder 0700, whatever the umask allows."""
    before = os.umask(0)
    try:
        with Staging(tmp_path / "run", way_on=WAY_ON) as staging:
            staging.file("results.csv").write(b"x")
            staging.commit()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run" / "results.csv").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt()])
def test_what_is_not_committed_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    """Whatever ends the writing, the old file stays as it was, and nothing lies beside it."""
    (tmp_path / "results.csv").write_text("old")

    def write() -> None:
        with Staging(tmp_path, way_on=WAY_ON) as staging:
            staging.file("results.csv").write(b"new")
            raise error

    with pytest.raises(type(error)):
        write()
    assert names(tmp_path) == ["results.csv"]
    assert (tmp_path / "results.csv").read_text() == "old"


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    """When the disk takes no more, the old file stays, nothing lies beside it, and the error says so."""
    (tmp_path / "results.csv").write_text("old")
    done = run_script(tmp_path, "limited")
    assert done.stderr.strip() == f"{tmp_path}/results.csv: cannot be written (File too large). Make room."
    assert done.returncode == 1
    assert names(tmp_path) == ["results.csv"]
    assert (tmp_path / "results.csv").read_text() == "old"


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    """After kill -9 the old file is whole, and the next report removes the rest of the killed one."""
    (tmp_path / "results.csv").write_text("old")
    assert run_script(tmp_path, "killed").returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2
    assert (tmp_path / "results.csv").read_text() == "old"
    with Staging(tmp_path, way_on=WAY_ON) as staging:
        staging.file("results.csv").write(b"new")
        staging.commit()
    assert names(tmp_path) == ["results.csv"]


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    """Two reports at once do not take each other's files away; the last one stays."""
    with Staging(tmp_path, way_on=WAY_ON) as one, Staging(tmp_path, way_on=WAY_ON) as other:
        one.file("results.csv").write(b"one")
        other.file("results.csv").write(b"other")
        one.commit()
        other.commit()
    assert (tmp_path / "results.csv").read_bytes() == b"other"
    assert names(tmp_path) == ["results.csv"]


def test_what_cannot_be_replaced_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    """A folder in the file's place is named in the error, and nothing is written."""
    (tmp_path / "results.csv").mkdir()
    with Staging(tmp_path, way_on=WAY_ON) as staging, pytest.raises(ReportError) as caught:
        staging.file("results.csv")
    assert str(caught.value).startswith(f"{tmp_path}/results.csv: cannot be written (there is a folder")
    assert str(caught.value).endswith(WAY_ON)
    assert caught.value.exit_code == 74
    assert names(tmp_path) == ["results.csv"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """Where a file stands in the folder's place, that is said."""
    (tmp_path / "run").write_text("")
    with pytest.raises(ReportError, match=r"run: cannot be written \(File exists\)"):
        Staging(tmp_path / "run", way_on=WAY_ON)


def test_an_outdated_file_is_removed(tmp_path: Path) -> None:
    """A file that would be out of date goes; one that is not there is no error."""
    (tmp_path / "results.xlsx").write_text("old")
    with Staging(tmp_path, way_on=WAY_ON) as staging:
        staging.remove("results.xlsx")
        staging.remove("results.xlsx")
    assert names(tmp_path) == []


def test_a_file_that_was_written_elsewhere_is_taken_whole(tmp_path: Path) -> None:
    """What a library wrote to a path of its own ends up in the file, with the right digest."""
    content = bytes(range(256)) * 5_000
    (tmp_path / "elsewhere").write_bytes(content)
    with Staging(tmp_path / "run", way_on=WAY_ON) as staging:
        file = staging.file("results.xlsx")
        file.written_by(tmp_path / "elsewhere")
        staging.commit()
        assert file.finish() == FileDigest.of(tmp_path / "elsewhere")
    assert (tmp_path / "run" / "results.xlsx").read_bytes() == content
