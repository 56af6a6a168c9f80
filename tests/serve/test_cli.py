"""The command: addresses and tokens that are refused in one line, before anything is loaded."""

from __future__ import annotations

import socket

import pytest

from sentalign.cli import main


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 lets others in"),
        (["--host", "::"], "--host :: lets others in"),
        (["--host", "xray.hospital.example"], "lets others in"),
        (["--token-file", "none.txt"], "--token-file cannot be read"),
        (["--max-upload-mb", "0"], "--max-upload-mb must be more than 0"),
        (["--max-upload-mb", "inf"], "--max-upload-mb must be"),
        (["--max-upload-mb", "nan"], "--max-upload-mb must be"),
        (["--port", "99999"], "--port must be 0 to 65535"),
        (["--port", "0"], "no run folder"),
    ],
)
def test_a_wrong_word_is_one_line(words, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--run", "nowhere", *words]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_a_port_that_is_taken_is_named(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", "--run", "nowhere", "--port", str(taken.getsockname()[1])]) == 2
    assert "Address already in use" in capsys.readouterr().err


@pytest.mark.parametrize("token", ["short", "two words that are long enough", "", "sixteen letters\nand a line"])
def test_a_weak_token_is_refused(token, tmp_path, capsys):
    (tmp_path / "token.txt").write_text(token)
    assert main(["serve", "--run", "nowhere", "--token-file", str(tmp_path / "token.txt")]) == 2
    assert "a token is one line of 16 letters or more" in capsys.readouterr().err
