"""Real receivers of the log: an HTTP collector, rsyslog over TLS, an OTLP collector with the official messages."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from remit.formats.out_record import read


def places(lines):
    """(place, leaf) of each line."""
    return [read(line)[1:] for line in lines]


class Collector:
    """`answers` are used up one a request: a status, (status, headers), or seconds to be slow for; then it is 200."""

    def __init__(self):
        self.answers, self.came, self.taken, self.headers, self.paths = [], [], [], [], []
        self.reply = b""

    def lines(self):
        return [line for body in self.taken for line in body.split(b"\n")[:-1]]

    def __enter__(self):
        mine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
                mine.headers.append({name.lower(): value for name, value in self.headers.items()})
                mine.paths.append(self.path)
                mine.came.append(body)
                answer = mine.answers.pop(0) if mine.answers else 200
                if isinstance(answer, float):
                    time.sleep(answer)
                    answer = 200
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                if status == 200:
                    mine.taken.append(body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(mine.reply)))
                self.end_headers()
                self.wfile.write(mine.reply)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


RSYSLOG = """
global(workDirectory="{folder}" maxMessageSize="1m"
  defaultNetstreamDriverCAFile="{pem}" defaultNetstreamDriverCertFile="{pem}" defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imtcp" address="127.0.0.1" port="{port}" supportOctetCountedFraming="on" ruleset="r")
template(name="t" type="string"
  string="%PRI% %TIMESTAMP:::date-rfc3339% %HOSTNAME% %APP-NAME% %MSGID% %STRUCTURED-DATA%\\t%msg%\\n")
ruleset(name="r") {{ action(type="omfile" file="{folder}/got" template="t") }}
"""


class Rsyslog:
    """`lines` are (header, message) of what it wrote down."""

    def __init__(self, folder, pem, key):
        self.folder, self.port = folder, free_port()
        text = RSYSLOG.format(folder=folder, pem=pem, key=key, port=self.port)
        (folder / "rsyslog.conf").write_text(text)

    def start(self):
        config, pid = self.folder / "rsyslog.conf", self.folder / "pid"
        self.child = subprocess.Popen(
            ["rsyslogd", "-n", "-f", config, "-i", pid], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                assert time.monotonic() < until and self.child.poll() is None, "rsyslogd does not start"
                time.sleep(0.02)

    def stop(self):
        self.child.terminate()
        self.child.wait(10)

    def lines(self):
        text = (self.folder / "got").read_bytes() if (self.folder / "got").exists() else b""
        return [tuple(line.split(b"\t", 1)) for line in text.split(b"\n")[:-1]]


@contextmanager
def rsyslog(folder, pem, key):
    """Debian's rsyslogd with GnuTLS, on a free port of loopback."""
    driver = [f"{where}/rsyslog/lmnsd_gtls.so" for where in ("/usr/lib/x86_64-linux-gnu", "/usr/lib")]
    if not shutil.which("rsyslogd") or not any(map(os.path.exists, driver)):
        said = "rsyslog is missing: apt-get install rsyslog rsyslog-gnutls"
        pytest.fail(said) if os.environ.get("CI") == "true" else pytest.skip(said)
    server = Rsyslog(folder, pem, key)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
