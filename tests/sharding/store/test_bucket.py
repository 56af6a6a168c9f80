"""What an object store may do to a build: bad lines, wrong credentials, missing buckets, odd names; all of it real."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
import urllib.request
from datetime import timedelta
from urllib.parse import quote

import pytest

from sharding.contract import UserError
from sharding.store import bucket
from sharding.store.errors import BadFileError, OutOfReachError
from sharding.store.locations import open_store, read
from tests.servers import AZURE_ACCOUNT, make_bucket, s3_running, use_s3

SECRET = "topsecret"
LARGE = b"0123456789abcdef" * (3 << 20 >> 1)
SOON = timedelta(seconds=0.3)

SPANS = [(10, 20), (0, 4), (15, 30), (9_000, 9_001), (20, 30), (50_000, 60_000), (12, 13)]

# One of each kind of request.
ACTS = {
    "find": lambda store: store.find("a"),
    "get_range": lambda store: store.get_range("a", 1, 1),
    "put": lambda store: store.put("b", b"1"),
    "put parts": lambda store: store.put("b", LARGE),
    "delete": lambda store: store.delete("b"),
    "size": lambda store: store.size("a"),
    "list": lambda store: store.list(),
}
each_act = pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
some_acts = pytest.mark.parametrize("act", [ACTS["find"], ACTS["put parts"], ACTS["list"]])


def failure(act, *arguments):
    """The message of the UserError, after a look at all that a terminal or a log may show of it."""
    with pytest.raises(UserError) as caught:
        act(*arguments)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert SECRET not in shown
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def short_timeouts(monkeypatch):
    monkeypatch.setattr(bucket, "RETRY_TIMEOUT", SOON)
    monkeypatch.setattr(bucket, "READ_TIMEOUT", SOON)


@pytest.fixture
def behind(line, s3, monkeypatch):
    """The address of a bucket behind a bad line, with one file."""
    open_store(s3).put("a", b"123")
    use_s3(monkeypatch, line.url)
    return s3


@each_act
def test_a_request_that_fails_is_made_again(behind, line, act):
    store = open_store(behind)
    line.faults = ["503", "drop"]
    act(store)
    assert line.faults == []
    assert store.get("a") == b"123"


def test_a_large_file_goes_over_a_bad_line_whole(behind, line):
    store = open_store(behind)
    line.faults = ["503", "", "drop", "", "503"]
    store.put("large", LARGE)
    assert line.faults == []
    line.faults = ["cut", "cut"]
    assert store.get("large") == LARGE


@each_act
def test_an_answer_that_is_cut_off_is_asked_for_again(behind, line, act):
    store = open_store(behind)
    before = act(store)
    line.faults = ["cut"]
    assert act(store) == before
    assert line.faults == []
    assert store.get("a") == b"123"


def test_a_silent_server_is_asked_again(behind, line, monkeypatch):
    monkeypatch.setattr(bucket, "READ_TIMEOUT", SOON)
    store = open_store(behind)
    line.faults = ["silence"]
    assert store.get("a") == b"123"


@some_acts
def test_a_store_that_stays_down_is_said(behind, line, act, short_timeouts):
    store = open_store(behind)
    line.faults = ["503"] * 1000
    assert "the store is down or overloaded (503" in failure(act, store)


@pytest.mark.parametrize("fault", ["503", "silence", "stall", "drop", "cut"])
def test_a_request_is_given_up_within_the_timeout(behind, line, fault):
    store = open_store(behind, timeout=3)
    line.always[""] = fault
    begun = time.monotonic()
    with pytest.raises(OutOfReachError):
        store.get_ranges("a", [(0, 3)])
    assert 0.5 < time.monotonic() - begun < 6


@pytest.mark.parametrize("fault", ["silence", "stall", "drop", "cut"])
def test_within_the_timeout_one_bad_connection_is_no_outage(behind, line, fault):
    store = open_store(behind, timeout=5)
    line.faults = [fault]
    assert store.get_ranges("a", [(0, 3)]) == [b"123"]
    assert line.faults == []


def test_ranges_come_as_they_were_asked_for_and_near_ones_together(behind, line):
    content = os.urandom(60_000)
    store = open_store(behind)
    store.put("b", content)
    line.requests.clear()
    assert store.get_ranges("b", SPANS) == [content[begin:end] for begin, end in SPANS]
    assert len(line.requests) == 3


@pytest.mark.parametrize("length", [0, 5, 25, 9_000, 55_000, 59_999])
def test_ranges_behind_the_end_are_said_of_the_file(behind, length, capfd):
    store = open_store(behind)
    store.put("b", b"x" * length)
    with pytest.raises(BadFileError):
        store.get_ranges("b", SPANS)
    assert "panicked" not in capfd.readouterr().err
    with pytest.raises(BadFileError, match="no such file"):
        store.get_ranges("c", SPANS)


def test_a_server_that_never_answers_is_said(behind, line, short_timeouts):
    store = open_store(behind)
    line.faults = ["silence"] * 1000
    assert "no answer in time" in failure(store.put, "b", b"1")


@some_acts
def test_a_server_that_is_gone_is_said(s3, line, monkeypatch, act, short_timeouts):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert "connection refused or timed out; check AWS_ENDPOINT_URL and the network" in failure(act, open_store(s3))


def test_a_host_without_a_name_is_said(s3, monkeypatch, short_timeouts):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://nobody.invalid")
    assert "the host name is unknown" in failure(open_store(s3).get, "a")


@each_act
@pytest.mark.parametrize("kind", ["s3", "gs", pytest.param("az", marks=pytest.mark.slow)])
def test_a_missing_bucket_is_no_missing_file(request, kind, act):
    store = open_store(request.getfixturevalue(kind) + "missing/folder")
    assert "there is no such bucket" in failure(act, store)


def test_reading_from_a_missing_bucket_is_no_missing_file(s3):
    assert "there is no such bucket" in failure(read, f"{s3}missing/a")
    with pytest.raises(FileNotFoundError):
        read(f"{s3}/missing")


@each_act
def test_wrong_credentials_are_said(clean_environment, monkeypatch, strict_server, act):
    use_s3(monkeypatch, strict_server)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    message = failure(act, open_store("s3://bucket/folder"))
    assert "wrong credentials, or not allowed (403" in message
    assert "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in message


@pytest.fixture(scope="module")
def strict_server():
    """A server that knows nobody's keys (moto's "IAM-like Access Control")."""
    with s3_running() as url:
        urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT")).close()
        headers = {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset-auth", b"0", headers)).close()
        yield url


def test_no_credentials_are_said(s3, monkeypatch, short_timeouts):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    assert "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in failure(open_store(s3).get, "a")


@pytest.mark.parametrize(
    ("address", "variables", "message"),
    [
        ("s3://b", {"AWS_ENDPOINT_URL": SECRET}, "AWS_ENDPOINT_URL is not an endpoint"),
        ("s3://b", {"AWS_ENDPOINT_URL": f"https://me:{SECRET}@host"}, "AWS_ENDPOINT_URL is not an endpoint"),
        ("s3://b", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "set AWS_ALLOW_HTTP=true"),
        ("s3://b", {"AWS_SECRET_ACCESS_KEY": f"{SECRET}\n"}, "AWS_SECRET_ACCESS_KEY has a line break"),
        ("s3://b", {"AWS_ACCESS_KEY_ID": f"{SECRET}\r"}, "AWS_ACCESS_KEY_ID has a line break"),
        ("s3://b", {"AWS_ALLOW_HTTP": SECRET}, "it cannot be used; check the address"),
        ("gs://b", {"GOOGLE_SERVICE_ACCOUNT_KEY": f'{{"private_key": "{SECRET}"}}'}, "check the address, GOOGLE_"),
        ("gs://b", {"GOOGLE_SERVICE_ACCOUNT_KEY": SECRET}, "check the address, GOOGLE_"),
        ("gs://b", {"GOOGLE_APPLICATION_CREDENTIALS": f"/{SECRET}"}, "check the address, GOOGLE_"),
        ("az://b", {}, "check the address, AZURE_STORAGE_ACCOUNT_NAME"),
        ("az://b", {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_ACCOUNT_KEY": f"{SECRET}!"}, "AZURE_STORAGE_"),
        (f"s3://key:{SECRET}@b/x", {}, "set credentials as environment variables"),
        (f"s3://{SECRET}@b/x", {}, "set credentials as environment variables"),
        (f"s3://b/x?X-Amz-Signature={SECRET}", {}, "set credentials as environment variables"),
        (f"s3://b/x#{SECRET}", {}, "set credentials as environment variables"),
        (f"az://b/x?sig={SECRET}", {}, "set credentials as environment variables"),
        (f"abfss://b:{SECRET}@a.dfs.core.windows.net/x", {}, "set credentials as environment variables"),
        (f"https://a.blob.core.windows.net/b?sig={SECRET}", {}, "https:// is not a store"),
    ],
)
def test_what_cannot_be_right_is_said_before_anything_is_sent(
    clean_environment, monkeypatch, address, variables, message
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert message in failure(open_store, address)


def test_a_signature_in_the_environment_is_not_shown(clean_environment, monkeypatch, short_timeouts):
    variables = {"NAME": AZURE_ACCOUNT, "SAS_TOKEN": f"sv=1&sig={SECRET}", "ENDPOINT": "http://127.0.0.1:9/a"}
    monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
    for name, value in variables.items():
        monkeypatch.setenv(f"AZURE_STORAGE_{'ACCOUNT_' if name == 'NAME' else ''}{name}", value)
    store = open_store("az://b")
    assert SECRET not in repr(store)
    for name in ("find", "put parts", "list"):
        assert "connection refused or timed out" in failure(ACTS[name], store)


def test_no_message_names_an_input_file(s3, monkeypatch, short_timeouts):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert SECRET not in failure(read, f"{s3}/{SECRET}/x.dcm")


def test_a_file_is_read_with_one_request_over_a_connection_that_stays(behind, line):
    for _ in range(20):
        assert read(f"{behind}/a") == b"123"
    assert line.connections < 10  # one is busy for a moment after its answer; without reuse there are 20
    assert line.requests == [f"GET /{behind.removeprefix('s3://')}/a"] * 20


def test_workers_read_from_the_store_that_their_parent_has_open(s3):
    for number in range(8):
        open_store(s3).put(f"{number}", str(number).encode())
    assert read(f"{s3}/0") == b"0"
    # Not forkserver: its server may have started in another test, without these credentials in its environment.
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(read, [f"{s3}/{number}" for number in range(8)]) == [str(n).encode() for n in range(8)]


FORK = """
import os, sys
from sharding.store.locations import read
read(sys.argv[1])
if os.fork() == 0:
    read(sys.argv[1])
os.wait()
"""


def test_a_forked_process_ends_instead_of_waiting_for_ever(s3):
    open_store(s3).put("a", b"1")
    ended = subprocess.run([sys.executable, "-c", FORK, f"{s3}/a"], capture_output=True, text=True, timeout=120)
    assert "start workers by spawn" in ended.stderr


def put_raw(endpoint, address, name):
    request = urllib.request.Request(f"{endpoint}/{address.removeprefix('s3://')}/{quote(name)}", b"", method="PUT")
    urllib.request.urlopen(request).close()


@pytest.mark.parametrize("name", ["a//b", "a/../b", "a/./b", "tab\tin", "bell\x07"])
def test_a_name_that_no_path_can_have_is_said(s3, s3_server, name):
    put_raw(s3_server, s3, name)
    assert "a name with //, /./, /../ or a control character" in failure(open_store(s3).states)
    assert "a name with //, /./, /../ or a control character" in failure(read, f"{s3}/{name}")


def test_the_mark_of_a_folder_is_no_file(s3, s3_server):
    for name in ("images/", "images/inner/", "images/inner/a.png"):
        put_raw(s3_server, s3, name)
    store = open_store(s3)
    store.put("empty", b"")
    assert store.list() == list(store.states()) == ["empty", "images/inner/a.png"]


WRITER = (
    "import sys; from sharding.store.locations import open_store; open_store(sys.argv[1]).put('b', b'1' * 30_000_000)"
)


def test_a_killed_put_of_a_large_file_leaves_no_file(behind, line):
    line.faults = ["", ""] + ["silence"] * 100
    writer = subprocess.Popen([sys.executable, "-c", WRITER, behind], env=os.environ | {"RUST_BACKTRACE": "0"})
    deadline = time.monotonic() + 120
    while len(line.requests) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    line.faults.clear()
    assert len(line.requests) >= 4
    store = open_store(behind)
    assert store.list() == ["a"]
    store.put("b", b"2")
    assert store.get("b") == b"2"


@pytest.mark.slow
def test_a_list_of_several_pages_is_whole(s3, s3_server):
    name = make_bucket(s3_server)
    store = open_store(f"s3://{name}/x")
    names = [f"{number:05d}" for number in range(1010)]  # a page has 1000
    for name in names:
        store.put(name, b"")
    assert store.list() == list(store.states()) == names
