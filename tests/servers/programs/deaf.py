"""A plugin that ends for nobody: it ignores shutdown, EOF and SIGTERM, and has a grandchild in a session of its own.

Framing of its own, since the sdk would keep the contract.
"""
import json
import os
import signal
import subprocess
import sys
import threading

ROUTES = [{"path": "/hello", "method": "GET", "description": "Says hello"}]


def read():
    """The next message, None at the end."""
    length = None
    while True:
        line = sys.stdin.buffer.readline()
        if not line:
            return None
        if line == b"\r\n":
            return json.loads(sys.stdin.buffer.read(length))
        name, value = line.split(b":")
        if name.lower() == b"content-length":
            length = int(value)


def answer(message):
    """What the host gets; nothing for shutdown."""
    if message["method"] == "plugin/handshake":
        return {"name": "deaf", "version": "1.0", "capabilities": [], "routes": ROUTES}
    if message["method"] == "plugin/handleRequest":
        return {"status": 200, "body": {"pid": os.getpid()}}
    return {"pid": os.getpid()}


for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)  # the grandchild inherits it
subprocess.Popen(["sleep", "3600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                 start_new_session=True)
message = read()
while message is not None:
    if "id" in message and message["method"] != "plugin/shutdown":
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": answer(message)}).encode()
        os.write(1, b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    message = read()
threading.Event().wait()
