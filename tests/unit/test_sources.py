"""Sources: several as one, patterns, and fetching whole files or nothing."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from countae import sources
from countae.errors import ConfigError


def test_parts_of_a_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ["b.h5", "a.h5", "c;d.h5", "e[1].h5"]:
        (tmp_path / name).touch()
    assert sources.parts("a.h5") == ["a.h5"]
    assert sources.parts("b.h5; a.h5;") == ["b.h5", "a.h5"]
    assert sources.parts("?.h5") == ["a.h5", "b.h5"]
    assert sources.parts("c;d.h5") == ["c;d.h5"]
    assert sources.parts("e[1].h5") == ["e[1].h5"]
    assert sources.parts("e[1].h5;https://x.org/q?a=*") == ["e[1].h5", "https://x.org/q?a=*"]
    assert sources.parts("simulate:nb") == ["simulate:nb"]
    with pytest.raises(ConfigError, match="no file matches"):
        sources.parts("*.loom")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://x.org/a/b%20c.h5ad?download=1#sha256=00", "b c.h5ad"),
        ("s3://bucket/x.h5", "x.h5"),
        ("https://x.org", "counts.h5ad"),
        ("folder/x.csv.gz", "x.csv.gz"),
    ],
)
def test_the_name_at_an_address(address, name):
    assert sources.file_name(address) == name


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(404 if "absent" in self.path else 200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"0123456789"[: 4 if "short" in self.path else 10])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), Answers) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()


WHOLE = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"  # of 0123456789


def test_a_file_is_fetched_and_verified(server, tmp_path):
    assert sources.fetch(f"{server}/x#sha256={WHOLE}", tmp_path / "x.h5") == 10
    assert (tmp_path / "x.h5").read_bytes() == b"0123456789"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("short", r"sent 4 of 10 bytes|cannot be fetched"),
        ("absent", "cannot be fetched .404"),
        ("x#sha256=00", "must have the SHA-256 checksum 00"),
    ],
)
def test_what_is_not_whole_leaves_nothing(server, tmp_path, path, words):
    (tmp_path / "x.h5").write_bytes(b"former")
    with pytest.raises(ConfigError, match=words):
        sources.fetch(f"{server}/{path}", tmp_path / "x.h5")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"former"]


@pytest.mark.parametrize("address", ["ftp://x.org/a", "file:///etc/passwd", "x.h5"])
def test_only_the_web_is_fetched(address, tmp_path):
    with pytest.raises(ConfigError, match="only http"):
        sources.fetch(address, tmp_path / "x")


def test_a_server_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be fetched"):
        sources.fetch("http://127.0.0.1:9/x", tmp_path / "x")
