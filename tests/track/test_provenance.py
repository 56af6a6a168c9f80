"""The commit, the user and the versions of a run; what is unknown is absent."""

from __future__ import annotations

import getpass
import platform
import subprocess

import pytest

from sentalign.track import provenance


def git(folder, *words):
    command = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def file(tmp_path):
    """A file in a repository with one commit."""
    (tmp_path / "package").mkdir()
    made = tmp_path / "package" / "module.py"
    made.write_text("x = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return made


def test_the_commit_and_whether_files_differ_from_it(file):
    head = git(file.parent, "rev-parse", "HEAD")
    assert provenance.commit(file) == {"commit": head, "dirty": False}
    (file.parent / "untracked.py").write_text("")
    assert provenance.commit(file) == {"commit": head, "dirty": False}
    file.write_text("x = 2\n")
    assert provenance.commit(file) == {"commit": head, "dirty": True}


def test_a_file_that_git_does_not_have_is_of_no_commit(file, tmp_path_factory, monkeypatch):
    installed = file.parent / "site-packages" / "module.py"
    installed.parent.mkdir()
    installed.write_text("")
    assert provenance.commit(installed) is None, "a wheel that is installed below a repository"
    alone = tmp_path_factory.mktemp("alone") / "module.py"
    alone.write_text("")
    assert provenance.commit(alone) is None
    monkeypatch.setenv("PATH", "")
    assert provenance.commit(file) is None, "no git"


def test_a_container_without_an_account_has_no_user(monkeypatch):
    assert provenance.user_name() == getpass.getuser()

    def unknown():
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert provenance.user_name() is None
    assert "user" not in provenance.fields({})


def test_versions_ranks_and_hosts():
    found = provenance.fields({"WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"})
    assert (found["ranks"], found["nodes"]) == (16, 2)
    assert found["versions"]["python"] == platform.python_version()
    assert {"torch", "transformers"} <= found["versions"].keys()
    assert (provenance.fields({})["ranks"], provenance.fields({})["nodes"]) == (1, 1)
