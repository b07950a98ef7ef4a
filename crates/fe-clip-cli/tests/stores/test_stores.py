"""`fe-clip detect` with images and results in object stores: S3 as moto speaks it, Azure as Azurite does.

FE_CLIP is a program with the feature `object-store`; AZURITE, if set, a running Azurite's blob address.
"""

import json
import os
import socket
import struct
import subprocess
import threading
import zlib
from pathlib import Path

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

PROGRAM = os.environ["FE_CLIP"]
BUCKET = "line-3"


def png(seed):
    """A picture, encoded by hand: no library of ours."""
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", 60, 40, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def run(*arguments, env, code=0, stdin=""):
    done = subprocess.run([PROGRAM, *map(str, arguments)], env={**os.environ, **env}, input=stdin, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    assert "panicked" not in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


class S3:
    scheme = "s3"

    def __init__(self, endpoint):
        self.env = {
            "AWS_ENDPOINT": endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
        self.client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret")

    def create(self, bucket):
        self.client.create_bucket(Bucket=bucket)

    def put(self, bucket, key, content):
        self.client.put_object(Bucket=bucket, Key=key, Body=content)

    def get(self, bucket, key):
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def keys(self, bucket, prefix=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(found["Key"] for page in pages for found in page.get("Contents", []))


class Azure:
    scheme = "az"

    def __init__(self, endpoint):
        from azure.storage.blob import BlobServiceClient

        # The account of every emulator, which is public.
        name = "devstoreaccount1"
        key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
        self.env = {
            "AZURE_STORAGE_ACCOUNT_NAME": name,
            "AZURE_STORAGE_ACCOUNT_KEY": key,
            "AZURE_ENDPOINT": f"{endpoint}/{name}",
            "AZURE_ALLOW_HTTP": "true",
        }
        self.client = BlobServiceClient(f"{endpoint}/{name}", credential=key)

    def create(self, bucket):
        self.client.create_container(bucket)

    def put(self, bucket, key, content):
        self.client.get_blob_client(bucket, key).upload_blob(content, overwrite=True)

    def get(self, bucket, key):
        return self.client.get_blob_client(bucket, key).download_blob().readall()

    def keys(self, bucket, prefix=""):
        return sorted(self.client.get_container_client(bucket).list_blob_names(name_starts_with=prefix))


@pytest.fixture(scope="module", params=["s3", "az"])
def kind(request):
    if request.param == "az":
        endpoint = os.environ.get("AZURITE")
        if not endpoint:
            pytest.skip("AZURITE is not set: Azure's store is not tested")
        yield Azure(endpoint)
        return
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield S3(f"http://{host}:{port}")
    server.stop()


@pytest.fixture
def store(kind, request):
    """A store with an empty bucket of the test's own."""
    kind.bucket = f"b{abs(hash(request.node.name)) % 10**9}"
    kind.create(kind.bucket)
    kind.address = f"{kind.scheme}://{kind.bucket}"
    return kind


@pytest.fixture
def local(tmp_path):
    """Names as people give them, and files of them on this machine."""
    names = ["left/a.png", "left/b c.png", "right/a.png", "right/100%#?.png", "ü.PNG"]
    for seed, name in enumerate(names):
        path = tmp_path / "parts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(seed))
    return tmp_path, names


def upload(store, folder, names):
    for name in names:
        store.put(store.bucket, f"parts/{name}", (folder / "parts" / name).read_bytes())


def test_a_folder_scores_as_on_this_machine(store, local):
    folder, names = local
    if store.scheme == "s3":  # Azure takes a backslash for a slash
        names.append("back\\x41.png")
        (folder / "parts" / names[-1]).write_bytes(png(len(names)))
    upload(store, folder, names)
    for key in ["parts/notes.txt", "parts/.hidden/x.png", "parts/@eaDir/x.png", "elsewhere/x.png"]:
        store.put(store.bucket, key, b"no image")
    expected, _ = run("detect", folder / "parts", "--format", "jsonl", env={})
    found, _ = run("detect", f"{store.address}/parts/", "--format", "jsonl", env=store.env)
    shown = [name.replace("\\x", "\\x5cx") for name in sorted(names)]  # as docs/cli.md has it
    assert [line["path"] for line in found] == [f"{store.address}/parts/{name}" for name in shown]
    scores = {line["path"].removeprefix(f"{folder}/"): line["score"] for line in expected}
    assert {line["path"].removeprefix(f"{store.address}/"): line["score"] for line in found} == scores


def test_pictures_go_there_and_replace_only_their_own(store, local):
    folder, names = local
    upload(store, folder, names)
    arguments = ["detect", f"{store.address}/parts/", "--out", f"{store.address}/out", "--save", "overlay,map,tiff", "--format", "jsonl"]
    found, _ = run(*arguments, env=store.env)
    keys = store.keys(store.bucket, "out/")
    assert len(keys) == 15
    for line in found:
        content = store.get(store.bucket, line["overlay"].removeprefix(f"{store.address}/"))
        assert content.startswith(b"\x89PNG")
    # The same again: nothing new.
    before = {key: store.get(store.bucket, key) for key in keys}
    run(*arguments, env=store.env)
    assert {key: store.get(store.bucket, key) for key in store.keys(store.bucket, "out/")} == before
    # Results are no inputs, whether they lie below the folder that is searched or are named.
    below, _ = run("detect", f"{store.address}/", "--out", f"{store.address}/out", "--format", "jsonl", env=store.env)
    assert len(below) == len(names)
    own, _ = run("detect", found[0]["overlay"], "--format", "jsonl", env=store.env, code=2)
    assert "made by fe-clip" in own[0]["error"]
    # Another input of the same name gets another name; a file of someone else's stays.
    store.put(store.bucket, "other/ü.PNG", png(9))
    other, _ = run("detect", f"{store.address}/other/", "--out", f"{store.address}/out", "--format", "jsonl", env=store.env)
    assert other[0]["overlay"] not in [line["overlay"] for line in found]
    store.put(store.bucket, "theirs/ü_overlay.png", png(3))
    lines, said = run("detect", f"{store.address}/other/", "--out", f"{store.address}/theirs", "--format", "jsonl", env=store.env, code=1)
    assert "did not make" in said and lines[0]["score"] is not None
    assert store.get(store.bucket, "theirs/ü_overlay.png") == png(3)


def test_parts_of_a_list_there_are_computed_once(store, local):
    folder, names = local
    upload(store, folder, names)
    table = pa.table({"path": [f"{store.address}/parts/{name}" for name in names]})
    pq.write_table(table, folder / "list.parquet")
    store.put(store.bucket, "list.parquet", (folder / "list.parquet").read_bytes())
    arguments = ["detect", "--list", f"{store.address}/list.parquet", "--out", f"{store.address}/parts-out", "--format", "jsonl"]
    lines = []
    for shard in ["0/2", "1/2"]:
        lines += run(*arguments, "--shard", shard, env=store.env)[0]
    keys = store.keys(store.bucket, "parts-out/")
    assert len(keys) == 2
    rows = []
    for key in keys:
        (folder / "part.parquet").write_bytes(store.get(store.bucket, key))
        rows += pq.read_table(folder / "part.parquet").to_pylist()
    assert [(row["path"], row["score"]) for row in rows] == [(line["path"], line["score"]) for line in lines]
    again, said = run(*arguments, "--shard", "1/2", env=store.env)
    assert again == [] and "finished before" in said


def test_a_group_is_compared_there_too(store, local):
    folder, names = local
    upload(store, folder, names)
    expected, _ = run("detect", "--group", folder / "parts", "--format", "jsonl", env={})
    found, _ = run("detect", "--group", f"{store.address}/parts/", "--format", "jsonl", env=store.env)
    assert [line["raw_score"] for line in found] == [line["raw_score"] for line in expected]


def test_what_is_missing_costs_only_itself(store, local):
    folder, names = local
    upload(store, folder, names)
    there = f"{store.address}/parts/left/a.png"
    gone = f"{store.address}/parts/none.png"
    nowhere = f"{store.scheme}://no-such-bucket/a.png"
    lines, said = run("detect", gone, there, nowhere, "--format", "jsonl", env=store.env, code=1)
    assert [line.get("error") is None for line in lines] == [False, True, False]
    assert gone in lines[0]["error"] and "no such object" in lines[0]["error"]
    assert nowhere in lines[2]["error"]
    _, said = run("detect", f"{store.address}/empty/", env=store.env, code=2)
    assert "no image below" in said
    _, said = run("detect", there, "--out", f"{store.scheme}://no-such-bucket/out", env=store.env, code=2)
    assert "no-such-bucket" in said and "does not exist" in said and len(said.splitlines()) == 1


class Relay:
    """Passes bytes on to a store, and cuts connections while it is told to."""

    def __init__(self, port):
        self.port, self.cut, self.cuts = port, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.cut > 0:
                self.cut, self.cuts = self.cut - 1, self.cuts + 1
                client.close()
                continue
            there = socket.create_connection(("127.0.0.1", self.port))
            for pair in [(client, there), (there, client)]:
                threading.Thread(target=self.pump, args=pair, daemon=True).start()

    @staticmethod
    def pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def test_a_connection_that_breaks_is_made_again(store, local):
    if store.scheme != "s3":
        pytest.skip("one store shows it")
    folder, names = local
    upload(store, folder, names)
    relay = Relay(int(store.env["AWS_ENDPOINT"].rsplit(":", 1)[1]))
    relay.cut = 3
    env = {**store.env, "AWS_ENDPOINT": f"http://127.0.0.1:{relay.address}"}
    found, _ = run("detect", f"{store.address}/parts/", "--format", "jsonl", env=env)
    assert len(found) == len(names) and relay.cuts == 3


def test_the_wrong_key_is_told(store):
    if store.scheme != "az":
        pytest.skip("moto lets everyone in")
    env = {**store.env, "AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmc="}
    _, said = run("detect", f"{store.address}/parts/", env=env, code=2)
    assert store.address in said and "d3Jvbmc=" not in said
