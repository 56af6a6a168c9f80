"""The commands: exit codes, one-line errors, JSON, none of which needs torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sharding.cli import main

COLUMNS = ["--table", "table.csv", "--image-column", "image", "--text-column", "text", "--patient-column", "patient"]


def build(folder, out, *more):
    return main(["build", "folder", str(folder), "--out", str(out), "--processes", "1", *more])


def test_build_verify_and_inspect(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert build(folder, out, *COLUMNS, "--max-failures", "0.2", "--json") == 0
    account = json.loads(capsys.readouterr().out)
    assert (account["read"], account["written"], account["rejected"]) == (7, 6, {"parse": 1})
    assert main(["verify", str(out), "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert (findings["valid"], findings["faults"]) == (True, [])
    assert main(["inspect", str(out), "--json", "--html", str(tmp_path / "page.html")]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["samples"], summary["patients"]) == (6, 3)
    assert summary["most_repeated"][0] == {"count": 6, "text": "Heart size is normal."}
    page = (tmp_path / "page.html").read_text()
    assert page.count("<img") == 6
    assert "http" not in page


def test_too_many_rejections_fail_with_the_shards_written(folder, tmp_path, capsys):
    assert build(folder, tmp_path / "out", *COLUMNS) == 1
    captured = capsys.readouterr()
    assert "read 7 = written 6 + rejected 1 + already there 0" in captured.out
    assert captured.err.count("\n") == 1
    assert "--max-failures 0.15" in captured.err
    assert (tmp_path / "out" / "shard-000000.tar").exists()


def test_verify_fails_with_lines(folder, tmp_path, capsys):
    build(folder, tmp_path / "out", *COLUMNS)
    (tmp_path / "out" / "shard-000000.tar").unlink()
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "out")]) == 1
    assert "shard-000000.tar: in the manifest, but missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["--image-column", "image"],
        ["--table", "nothing.csv", "--image-column", "image", "--text-column", "text"],
        ["--table", "table.csv"],
        ["--table", "table.csv", "--image-column", "image"],
        ["--table", "table.csv", "--image-column", "file", "--text-column", "text"],
        ["--allow-no-text", "--modality", ","],
        ["--allow-no-text", "--private", "OUT/private"],
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(folder, tmp_path, capsys, more):
    more = [part.replace("OUT", str(tmp_path / "out")) for part in more]
    assert build(folder, tmp_path / "out", *more) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_the_old_name_of_an_option_is_refused_with_the_new_one(folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        build(folder, tmp_path / "out", *COLUMNS, "--shard-studies", "5")
    assert ended.value.code == 2
    assert "this option is called --shard-images now" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_input_that_is_not_there(tmp_path, capsys):
    assert build(tmp_path / "nothing", tmp_path / "out", "--allow-no-text") == 2
    assert "no such folder" in capsys.readouterr().err


def test_help_shows_examples_and_imports_nothing_heavy():
    code = (
        "import sys; from sharding import cli\n"
        "try: cli.main(['build', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'pydicom', 'webdataset')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "examples:" in done.stdout


def test_the_pixel_path_imports_no_torch():
    modules = "sharding.build.run, sharding.describe.inspection, sharding.verify"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
