"""A build accounts for every image, is reproducible, resumes after a stop, and lets no identity out."""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import os
import signal
import subprocess
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sharding import manifest
from sharding.build import finish, pool, run
from sharding.build.journal import BuildJournal
from sharding.build.sentence_tuple import SampleSettings, split_of
from sharding.contract import KEY_PATTERN, UserError, text_hash
from sharding.deid.private_folder import open_private
from sharding.sources import SourceImage, SourceListing
from sharding.sources.files import packed
from sharding.store.locations import open_store
from sharding.verify import verify

SETTINGS = run.BuildSettings("folder", shard_images=4)


def files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_account_and_the_data_set_agree(folder, private, tmp_path, build, read_folder):
    out = str(tmp_path / "out")
    account = build(read_folder(folder), SETTINGS, out, private, 1)
    assert account.lines()[:2] == ["read 7 = written 6 + rejected 1 + already there 0", "rejected: parse 1"]
    assert account.failed_share == pytest.approx(1 / 7)
    stored = manifest.read(out)
    assert stored.table.num_rows == 6
    assert [shard["samples"] for shard in stored.metadata["shards"].values()] == [3, 3]
    assert stored.metadata["counts"]["read"] == 7
    assert verify(out) == []


def test_members_are_at_the_offsets_of_the_manifest(folder, private, tmp_path, build, read_folder):
    out = str(tmp_path / "out")
    build(read_folder(folder), SETTINGS, out, private, 1)
    store = open_store(out)
    for row in manifest.read(out).table.to_pylist():
        image = store.get_range(row["shard"], row["image_offset"], row["image_bytes"])
        content = json.loads(store.get_range(row["shard"], row["json_offset"], row["json_bytes"]))
        assert image[:3] == b"\xff\xd8\xff"
        assert hashlib.sha256(image).hexdigest() == row["image_sha256"]
        assert KEY_PATTERN.fullmatch(row["key"])
        assert [sentence["hash"] for sentence in content["sentences"]] == row["text_hashes"]
        assert row["text_hashes"][0] == text_hash("heart size IS normal")
        assert set(content) == {
            *("format_version", "sentences", "view", "study", "patient", "split", "geometry", "pixels"),
        }


def test_plain_webdataset_reads_the_shards(folder, private, tmp_path, monkeypatch, build, read_folder):
    monkeypatch.setenv("WDS_SECURE", "1")
    import webdataset

    out = tmp_path / "out"
    build(read_folder(folder), SETTINGS, str(out), private, 1)
    urls = [str(path) for path in sorted(out.glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert [sample["__key__"] for sample in samples] == manifest.read(str(out)).table["key"].to_pylist()
    assert all(json.loads(sample["json"])["sentences"] and sample["jpg"] for sample in samples)


def test_the_same_input_gives_the_same_bytes_with_any_number_of_processes(
    folder, private, tmp_path, build, read_folder
):
    for name, processes in (("a", 1), ("b", 2)):
        build(read_folder(folder), SETTINGS, str(tmp_path / name), private, processes)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_an_interrupted_build_resumes_and_ends_with_the_same_bytes(
    folder, private, tmp_path, monkeypatch, build, read_folder
):
    whole, out = tmp_path / "whole", tmp_path / "out"
    listing = read_folder(folder)
    settings = run.BuildSettings("folder", shard_images=2)
    build(listing, settings, str(whole), private, 1)

    def stopping(*arguments):
        yield from itertools.islice(original(*arguments), 5)
        raise KeyboardInterrupt

    original = pool.results
    monkeypatch.setattr(pool, "results", stopping)
    with pytest.raises(KeyboardInterrupt):
        build(listing, settings, str(out), private, 1)
    assert not (out / "manifest.parquet").exists()
    monkeypatch.setattr(pool, "results", original)
    account = build(listing, settings, str(out), private, 1)
    assert account.already in (3, 4)
    assert account.written + account.already == 6
    assert files(out) == files(whole)


def test_a_finished_build_repeats_nothing(folder, private, tmp_path, build, read_folder):
    out = tmp_path / "out"
    listing = read_folder(folder)
    build(listing, SETTINGS, str(out), private, 1)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    account = build(listing, SETTINGS, str(out), private, 1)
    assert account.lines()[0] == "read 7 = written 0 + rejected 1 + already there 6"
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.tar")} == before


def test_a_lost_shard_is_written_again(folder, private, tmp_path, build, read_folder):
    out = tmp_path / "out"
    listing = read_folder(folder)
    build(listing, SETTINGS, str(out), private, 1)
    before = files(out)
    (out / "shard-000001.tar").unlink()
    assert build(listing, SETTINGS, str(out), private, 1).already == 3
    assert files(out) == before


def test_a_corrected_file_is_read_again_and_no_old_shard_remains(
    folder, private, png_bytes, tmp_path, build, read_folder
):
    out = tmp_path / "out"
    build(read_folder(folder), run.BuildSettings("folder", shard_images=1), str(out), private, 1)
    (folder / "images" / "broken.png").write_bytes(png_bytes())
    account = build(read_folder(folder), SETTINGS, str(out), private, 1)
    assert (account.written, account.already, account.rejected) == (7, 0, {})
    assert len(list(out.glob("*.tar"))) == 2
    assert verify(str(out)) == []


def test_another_private_folder_does_not_overwrite(folder, private, tmp_path, build, read_folder):
    build(read_folder(folder), SETTINGS, str(tmp_path / "out"), private, 1)
    other = open_private(tmp_path / "other", str(folder), str(tmp_path / "out"))
    with pytest.raises(UserError, match="another private folder"):
        build(read_folder(folder), SETTINGS, str(tmp_path / "out"), other, 1)


def test_no_identity_leaves(folder, private, dicom_bytes, tmp_path, build, read_folder):
    header = {
        "PatientName": "Zimmermann^Otto",
        "PatientID": "MRN4711",
        "StudyDate": "20190312",
        "InstitutionName": "Ward",
    }
    (folder / "images" / "otto.dcm").write_bytes(dicom_bytes(**header))
    with (folder / "table.csv").open("a") as file:
        file.write('otto.dcm,"Mr. Zimmermann has edema since 12/03/2019. Otto is MRN4711.",otto-z,PA\n')
    out = tmp_path / "out"
    build(read_folder(folder), SETTINGS, str(out), private, 1)
    content = b"".join(path.read_bytes() for path in out.iterdir())
    content += str(pq.read_table(out / "manifest.parquet").to_pylist()).encode()
    content += str(pq.read_table(out / "quarantine.parquet").to_pylist()).encode()
    for word in (
        b"immermann",
        b"tto",
        b"4711",
        b"2019",
        b"Ward",
        b"john",
        b"doe1",
        b"broken.png",
        str(tmp_path).encode(),
    ):
        assert word not in content
    audit = json.loads((out / "audit.json").read_text())["masked_in_reports"]
    assert (audit["date"], audit["known"]) == (1, 3)


def test_quarantine_ids_are_resolved_by_the_ledger_alone(folder, private, tmp_path, build, read_folder):
    build(read_folder(folder), SETTINGS, str(tmp_path / "out"), private, 1)
    (row,) = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    assert (row["stage"], row["reason"], row["message"]) == ("header", "parse", "not an image but an HTML page")
    assert private.ledger.resolve(row["id"]) == [
        ("file", str(folder / "images" / "broken.png")),
        ("image", "broken.png"),
    ]


def test_the_first_reason_that_applies_counts(private, dicom_bytes, tmp_path, build, read_folder):
    noise_HW = np.zeros((64, 64), np.uint16)
    contents = {
        "no image": b"<html>",
        "parse": b"<html>",
        "required tags": dicom_bytes(noise_HW, Rows=None, Modality="CT"),
        "modality": dicom_bytes(noise_HW, Modality="CT")[:-500],
        "body part": dicom_bytes(noise_HW, BodyPartExamined="KNEE")[:-500],
        "decode": dicom_bytes(noise_HW, BurnedInAnnotation="YES")[:-500],
        "de-identification": dicom_bytes(noise_HW, BurnedInAnnotation="YES"),
        "text": dicom_bytes(noise_HW),
    }
    (tmp_path / "in").mkdir()
    for name, data in contents.items():
        (tmp_path / "in" / (name if name == "no image" else f"{name}.dcm")).write_bytes(data)
    account = build(read_folder(tmp_path / "in", None), SETTINGS, str(tmp_path / "out"), private, 1)
    assert account.rejected == dict.fromkeys(contents, 1)
    assert account.failed_share == pytest.approx(5 / 8)
    for row in pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist():
        named = row["reason"] if row["reason"] == "no image" else f"{row['reason']}.dcm"
        assert ("image", named) in private.ledger.resolve(row["id"])
    assert verify(str(tmp_path / "out")) == []


def test_a_missing_image_is_quarantined(private, tmp_path, build):
    account = build(SourceListing([SourceImage("gone.png", "")]), SETTINGS, str(tmp_path / "out"), private, 1)
    assert account.rejected == {"image not in the input": 1}
    assert account.failed_share == 1
    assert replace(account, partial=True).failed_share == 0


def test_a_name_that_fits_several_files_is_a_fault_of_a_part_too(private, tmp_path, build):
    listing = SourceListing([SourceImage("a.png", "", several=True)])
    account = build(listing, SETTINGS, str(tmp_path / "out"), private, 1)
    assert account.rejected == {"parse": 1}
    assert replace(account, partial=True).failed_share == 1


def test_images_of_one_patient_in_many_studies_are_noted(private, dicom_bytes, tmp_path, build, read_folder):
    (tmp_path / "in").mkdir()
    for number in range(6):
        data = dicom_bytes(PatientID="ANON", StudyInstanceUID=f"1.2.{number}")
        (tmp_path / "in" / f"{number}.dcm").write_bytes(data)
    settings = run.BuildSettings("folder", SampleSettings(allow_no_text=True))
    account = build(read_folder(tmp_path / "in", None), settings, str(tmp_path / "out"), private, 1)
    assert account.notes == {finish.ONE_PATIENT: 6}


def test_an_empty_input_is_a_users_mistake(private, tmp_path, build):
    with pytest.raises(UserError, match="no image"):
        build(SourceListing([]), SETTINGS, str(tmp_path / "out"), private, 1)
    listing = SourceListing([], {"hidden file": 2}, {packed.UNREADABLE: 1})
    with pytest.raises(UserError, match=r"in the input \(hidden file 2, \.zip that cannot be opened: .* 1\); check"):
        build(listing, SETTINGS, str(tmp_path / "out"), private, 1)


def test_mimic_reports_become_sentences_of_the_official_sections(mimic, private, tmp_path, build, read_mimic):
    out = str(tmp_path / "out")
    build(read_mimic(mimic), run.BuildSettings("mimic-cxr"), out, private, 1)
    store, rows = open_store(out), manifest.read(out).table.to_pylist()
    content = json.loads(store.get_range(rows[0]["shard"], rows[0]["json_offset"], rows[0]["json_bytes"]))
    assert [(s["section"], s["text"]) for s in content["sentences"]] == [
        ("findings", "There is a 1.5 cm nodule in the left upper lobe."),
        ("findings", "No pleural effusion."),
        ("impression", "Nodule."),
        ("impression", "Unchanged cardiomegaly."),
    ]
    report = next(mimic.rglob("*.txt")).read_text()
    for sentence in content["sentences"]:
        assert " ".join(report[sentence["start"] : sentence["end"]].split()) == sentence["text"]
    assert sorted(row["split"] for row in rows) == ["train", "train", "validate"]


def test_images_without_text_are_kept_when_allowed(folder, private, tmp_path, build, read_folder):
    settings = run.BuildSettings("folder", SampleSettings(allow_no_text=True, image="png", size=8))
    account = build(read_folder(folder, None), settings, str(tmp_path / "out"), private, 1)
    assert account.written == 6
    rows = manifest.read(str(tmp_path / "out")).table.to_pylist()
    assert all(row["sentence_count"] == 0 and row["image_member"] == "png" for row in rows)
    assert max(max(row["width"], row["height"]) for row in rows) == 8


def test_patients_are_split_by_share():
    share = (0.5, 0.2, 0.3)
    splits = [split_of(f"patient{number}", share) for number in range(4000)]
    for split, expected in zip(("train", "validate", "test"), share, strict=True):
        assert splits.count(split) / 4000 == pytest.approx(expected, abs=0.03)


def test_an_image_that_hangs_its_decoder_is_rejected_alone(folder, private, tmp_path, build, read_folder):
    os.mkfifo(folder / "pipe")  # nobody writes to it, so listing waits for ever
    images = [*read_folder(folder).images, SourceImage("pipe", str(folder / "pipe"))]
    account = build(SourceListing(images), SETTINGS, tmp_path / "out", private, 2, timeout=2)
    assert account.rejected == {"parse": 1, "decode": 1}
    assert account.written == 6
    rows = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    assert any("did not end within 2 seconds" in row["message"] for row in rows)


def test_a_worker_that_is_killed_costs_nothing(folder, private, tmp_path, monkeypatch, build, read_folder):
    listing = read_folder(folder)
    build(listing, SETTINGS, tmp_path / "whole", private, 2)
    original, killed = pool.Processes.result, []

    def killing(self, job):
        for process in multiprocessing.process.active_children() if not killed else ():
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)
        return original(self, job)

    monkeypatch.setattr(pool.Processes, "result", killing)
    account = build(listing, SETTINGS, tmp_path / "out", private, 2)
    assert killed
    assert account.rejected == {"parse": 1}
    assert files(tmp_path / "out") == files(tmp_path / "whole")


class DyingWorkers(pool.Processes):
    """Workers that die with any image, as on a machine without free memory."""

    def _new_pool(self):
        context = multiprocessing.get_context("forkserver")
        return ProcessPoolExecutor(1, mp_context=context, initializer=os._exit, initargs=(1,))


def test_workers_that_crash_without_an_image_are_a_users_mistake(folder, private, tmp_path, read_folder):
    plan = run.Build(SETTINGS, str(tmp_path / "out"), private, lambda config: DyingWorkers(config, 1))
    with pytest.raises(UserError, match="crash at start"):
        run.build(read_folder(folder), plan)
    assert not (tmp_path / "out" / "quarantine.parquet").exists()


def test_rejected_images_are_retried_on_request(folder, private, png_bytes, tmp_path, build, read_folder):
    """Same size and time of the file, so that only --retry-failed looks at it again: as after installing a codec."""
    broken = folder / "images" / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(len(png_bytes()) - 8))
    os.utime(broken, (1, 1))
    out = tmp_path / "out"
    assert build(read_folder(folder), SETTINGS, out, private).rejected == {"parse": 1}
    broken.write_bytes(png_bytes())
    os.utime(broken, (1, 1))
    assert build(read_folder(folder), SETTINGS, out, private, retry=frozenset(["decode"])).rejected == {"parse": 1}
    account = build(read_folder(folder), SETTINGS, out, private, retry=frozenset(["parse"]))
    assert (account.written, account.already, account.rejected) == (1, 6, {})
    assert verify(str(out)) == []
    build(read_folder(folder), SETTINGS, tmp_path / "whole", private)
    assert files(out) == files(tmp_path / "whole")


def test_a_retry_killed_between_shard_and_journal_leaves_nothing_wrong(
    folder, private, png_bytes, tmp_path, build, read_folder, monkeypatch
):
    settings = run.BuildSettings("folder", shard_images=3)  # so few that a tar is as long with a sample more
    broken = folder / "images" / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(len(png_bytes()) - 8))
    os.utime(broken, (1, 1))
    build(read_folder(folder), settings, tmp_path / "out", private)
    broken.write_bytes(png_bytes())
    os.utime(broken, (1, 1))

    def killed(*_):
        raise KeyboardInterrupt

    original = BuildJournal.put
    monkeypatch.setattr(BuildJournal, "put", killed)
    with pytest.raises(KeyboardInterrupt):
        build(read_folder(folder), settings, tmp_path / "out", private, retry=frozenset(["parse"]))
    monkeypatch.setattr(BuildJournal, "put", original)
    build(read_folder(folder), settings, tmp_path / "out", private)
    assert verify(str(tmp_path / "out")) == []


def test_two_builds_at_once_are_refused(folder, private, tmp_path, build, read_folder):
    with private.locked(), pytest.raises(UserError, match="another build uses"):
        build(read_folder(folder), SETTINGS, tmp_path / "out", private)


def test_a_full_disk_is_one_line_and_the_same_command_resumes(folder, private, tmp_path, build, read_folder):
    build(read_folder(folder), SETTINGS, tmp_path / "whole", private)
    small = tmp_path / "small"
    small.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", small], check=False).returncode
    ):
        pytest.skip("no right to mount a small disk")
    try:
        with pytest.raises(UserError, match=r"(?i)no space left"):
            build(read_folder(folder), SETTINGS, small / "out", private)
        subprocess.run(["mount", "-o", "remount,size=1m", small], check=True)
        build(read_folder(folder), SETTINGS, small / "out", private)
        assert files(small / "out") == files(tmp_path / "whole")
    finally:
        subprocess.run(["umount", small], check=True)


def test_an_image_listed_twice_is_a_users_mistake(folder, private, tmp_path, build, read_folder):
    """One line with the number, and nothing is written."""
    images = read_folder(folder).images
    with pytest.raises(UserError, match="lists 2 images more than once"):
        build(SourceListing([*images, images[0], images[3]]), SETTINGS, tmp_path / "out", private)
    assert not list((tmp_path / "out").iterdir())


def test_a_range_of_images_without_one_sample_leaves_an_empty_shard(private, png_bytes, tmp_path, build, read_folder):
    (tmp_path / "in").mkdir()
    for number in range(4):
        (tmp_path / "in" / f"{number}.png").write_bytes(png_bytes() if number == 2 else b"<html>")
    settings = run.BuildSettings("folder", SampleSettings(allow_no_text=True), shard_images=1)
    build(read_folder(tmp_path / "in", None), settings, tmp_path / "out", private)
    samples = [shard["samples"] for shard in manifest.read(str(tmp_path / "out")).metadata["shards"].values()]
    assert sorted(samples) == [0, 0, 0, 1]
    assert verify(str(tmp_path / "out")) == []
