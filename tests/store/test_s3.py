"""Results on S3: the same store, in bounded requests, without overwriting, and with refusals that say what to do."""

from __future__ import annotations

import os
import sys

import pandas as pd
import pytest

from uqkd.errors import LibraryError, ProvenanceError, StoreError
from uqkd.store import Inputs, Store
from uqkd.store.durable import open_folder
from uqkd.store.units import encode

FULL = os.environ.get("UQKD_FAULTS") == "full"
MANY = 10_000


def inputs(i):
    return Inputs("many", {"i": i}, method="m")


def table(i):
    return pd.DataFrame({"x": [float(i), 0.5]})


# ------------------------------------------------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("AccessDenied", "could not list s3://bucket/a: no rights (AccessDenied). Check the credentials"),
        ("InvalidAccessKeyId", "no rights (InvalidAccessKeyId). Check the credentials (AWS_PROFILE, or"),
        ("RequestTimeTooSkewed", "this machine's clock is wrong ("),
    ],
)
def test_what_the_store_refuses_is_one_line_before_any_work(s3, code, said):
    with s3.refusing(code), s3.counted() as requests, pytest.raises(StoreError) as seen:
        Store("s3://bucket/a")
    assert said in str(seen.value)
    assert "\n" not in str(seen.value)
    assert requests.total() == 1


def test_a_bucket_that_is_not_there_is_no_empty_folder(s3):
    with pytest.raises(
        StoreError, match=r"there is no bucket 'nowhere'\. Mend the URL, or make it: aws s3 mb s3://nowhere"
    ):
        Store("s3://nowhere/a")
    with pytest.raises(StoreError, match="there is no folder 's3://bucket/nothing-here'"):
        Store("s3://bucket/nothing-here", create=False)


def test_without_credentials_the_error_names_them(s3, monkeypatch, tmp_path):
    import s3fs

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(StoreError, match=r"no rights .*Check the credentials \(AWS_PROFILE"):
            Store("s3://bucket/a").commit(inputs(0), table(0))
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


def test_without_s3fs_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(
        LibraryError, match=r"s3://bucket/a needs s3fs, which is not installed: pip install 'uqkd\[s3\]'"
    ):
        open_folder("s3://bucket/a")


# --------------------------------------------------------------------------------------- how often it asks, and what it overwrites


@pytest.mark.slow
def test_a_unit_is_one_request_and_so_are_a_thousand_names(s3):
    """A store on which a hundred units cost a listing each was unusable at ten thousand."""
    store, count = Store(s3.root), MANY if FULL else 200
    with s3.counted() as requests:
        for i in range(count):
            store.commit(inputs(i), table(i), check_twins=False)
    assert requests == {"PUT": count}
    prefix = f"{s3.root.removeprefix('s3://bucket/')}/units/many/"
    for i in range(count, MANY):  # as if committed by others; what is in them is not asked
        s3.place(f"{prefix}{i:032x}-{i:032x}.parquet", b"")
    with s3.counted() as requests:
        assert len(Store(s3.root).committed("many")) == MANY
    assert requests == {"list": 1 + MANY // 1000}  # whether there is a bucket, and the names
    some = [inputs(i) for i in range(100)]
    with s3.counted() as requests:
        units = store.read_units(some)
    assert [unit.table["x"].to_pylist() for unit in units] == [[float(i), 0.5] for i in range(100)]
    assert requests["GET"] == len(some)
    assert requests["list"] <= 2 * MANY // 1000
    assert requests.total() == requests["GET"] + requests["list"]


@pytest.mark.slow
def test_units_are_packed_and_read_in_few_requests(s3):
    store, count = Store(s3.root), 120
    for i in range(count):
        store.commit(inputs(i), table(i), check_twins=False)
    before = store.read_study("many")
    with s3.counted() as requests:
        assert store.compact("many") == count
    assert requests["GET"] <= count + 5
    assert requests["POST"] == 1  # all the loose ones go in one request
    assert requests.total() - requests["GET"] <= 6
    with s3.counted() as requests:
        pd.testing.assert_frame_equal(Store(s3.root).read_study("many"), before)
    assert requests.total() <= 12
    assert (store.verify().ok, store.verify().bad) == (count, ())
    assert str(store.stock("many")).startswith("120 units in 1 file, ")


def test_what_is_there_is_not_overwritten_by_its_equal(s3):
    store = Store(s3.root)
    name = store.commit(inputs(1), table(1), check_twins=False)
    (key,) = s3.keys_below(s3.root)
    stamp = s3.stamp(key)
    with s3.counted() as requests:
        assert store.commit(inputs(1), table(1), check_twins=False) == name
    assert requests == {"PUT": 1, "GET": 1}  # refused, and compared
    assert s3.stamp(key) == stamp
    s3.place(key, b"damaged")
    store.commit(inputs(1), table(1), check_twins=False)
    assert s3.keys()[key] == encode(inputs(1), table(1))[1]


def test_two_results_for_the_same_inputs_are_both_kept(s3):
    store = Store(s3.root)
    store.commit(inputs(1), table(1))
    with pytest.raises(ProvenanceError, match="2 different results for the same inputs"):
        store.commit(inputs(1), table(2))
    assert store.verify().ok == 2


def test_a_store_without_conditional_writes_gets_plain_ones(s3):
    s3.unconditional = True
    store = Store(s3.root)
    with s3.counted() as requests:
        for i in range(5):
            store.commit(inputs(i), table(i), check_twins=False)
    assert requests == {"PUT": 6, "GET": 1}  # the first one asked
    assert store.verify().ok == 5
