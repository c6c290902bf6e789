"""A plugin for the host's tests, with framing of its own so that our bugs cannot cancel each other out.

Its first argument is a JSON object that says how it behaves:

* `answer`: more keys of the handshake's answer, `echoHandshake`: its params as a capability, `handshakeError`: an error
  in its place, `hang`: no answer at all, `exit`: exits with this code instead;
* `gate`: a fifo that gives a byte before the handshake is answered;
* `ready`: params of a `plugin/ready` that follows, after a byte from the fifo `readyGate` where there is one;
* `health`: the answer of plugin/health, "hang" or "unknown";
* `ack`: acknowledges events (true), or only their delivery of this number; `deadly`: an event of this type kills it;
* `deaf`: ignores EOF, SIGTERM and plugin/shutdown; `shutdownGate`: a fifo that gives a byte before that is answered;
  `askAtShutdown`: a host's method that is called before that is answered, with its answer in the trace;
* `banner`: text printed first; `trace`: a file that gets a line at each start, event, shutdown and EOF;
* `crashUnless`: dies at once where this file is not.
"""
import json
import os
import signal
import sys
import threading
import time

how = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
lock = threading.Lock()
events = []
seen = threading.Condition()
answers = {}
progress = {}
cancelled = []
told = []
never = threading.Event()


def trace(text):
    if "trace" in how:
        with open(how["trace"], "a") as file:
            file.write(f"{text} {os.getpid()}\n")


def pass_gate(name):
    if name in how:
        with open(how[name] + ".visitors", "wb") as visitors:
            visitors.write(b"x")
        with open(how[name], "rb", buffering=0) as gate:
            gate.read(1)


def read():
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


def raw(data):
    with lock:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def send(**message):
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    raw(b"Content-Length: %d\r\n\r\n" % len(body) + body)


def ask_host(method, params, key=None):
    key = key or f"call-{time.monotonic_ns()}"
    send(id=key, method=method, params=params)
    return key


def answer_of(key):
    with seen:
        assert seen.wait_for(lambda: key in answers, 10), "the host did not answer"
        return answers.pop(key)


def handle_host(method, params):
    """Methods that call the host."""
    if method == "ask":
        return answer_of(ask_host(params["method"], params.get("params"), params.get("id")))
    if method == "askMany":
        keys = [ask_host(params["method"], params.get("params")) for _ in range(params["count"])]
        return [answer_of(key) for key in keys]
    if method == "askAndCancel":
        key = ask_host(params["method"], params.get("params"))
        with seen:
            seen.wait_for(lambda: key in progress, 10)
        send(method="$/cancelRequest", params={"id": key})
        return answer_of(key)
    if method == "askWithProgress":
        key = ask_host(params["method"], params.get("params"))
        return {"answer": answer_of(key), "progress": progress.get(key)}
    return handle_trouble(method, params)


def handle_trouble(method, params):
    """Methods that do what a plugin must not."""
    if method == "die":
        sys.stderr.write(params.get("stderr", "ERROR: dying as told\n"))
        sys.stderr.flush()
        os._exit(params.get("code", 3))
    if method == "signal":
        raw(params.get("said", "").encode("latin-1"))
        os.kill(os.getpid(), params["number"])
        never.wait()  # another thread may be the one that gets it
    if method == "raw":
        raw(params["data"].encode("latin-1"))
        return True
    if method == "closeStdout":
        os.close(1)
        never.wait()
    return params


def handle(message):
    method, params = message["method"], message.get("params") or {}
    if method == "events":
        with seen:
            seen.wait_for(lambda: len(events) >= params.get("count", 0), 10)
            return list(events)
    if method == "wait":
        never.wait(params["seconds"])
        return params.get("value")
    if method == "facts":
        return {"pid": os.getpid(), "env": dict(os.environ), "cwd": os.getcwd(), "argv": sys.argv,
                "fds": sorted(map(int, os.listdir("/proc/self/fd"))), "uid": os.getuid(), "gid": os.getgid()}
    if method == "publish":
        send(method="plugin/publishEvent", params=params)
        return True
    if method == "tell":
        send(**params)
        return True
    if method == "log":
        sys.stderr.write(params["text"])
        sys.stderr.flush()
        return True
    if method == "progress":
        for value in params["values"]:
            send(method="$/progress", params={"id": message["id"], "value": value})
        return "done"
    if method == "cancelled":
        with seen:
            seen.wait_for(lambda: len(cancelled) >= params.get("count", 0), 10)
            return list(cancelled)
    if method == "plugin/handleRequest":
        return {"body": params}
    return handle_host(method, params)


def on_event(params):
    trace(f"event-{params['metadata']['sequence']}")
    if params["eventType"] == how.get("deadly"):
        os._exit(9)
    with seen:
        events.append(params)
        deliveries = sum(1 for event in events if event["metadata"]["eventId"] == params["metadata"]["eventId"])
        seen.notify_all()
    if how.get("ack") is True or how.get("ack") == deliveries:
        send(method="plugin/ackEvent", params={"eventId": params["metadata"]["eventId"]})


def serve(message):
    try:
        send(id=message["id"], result=handle(message))
    except Exception as error:  # noqa: BLE001
        send(id=message["id"], error={"code": 7, "message": repr(error)})


def on_health(message):
    if how.get("health") == "unknown":
        send(id=message["id"], error={"code": -32601, "message": "no such method"})
    elif how.get("health") != "hang":
        send(id=message["id"], result=how.get("health", {"status": "ok"}))


def declare_ready():
    pass_gate("readyGate")
    send(method="plugin/ready", params=how["ready"])


def handshake(message):
    pass_gate("gate")
    if "exit" in how:
        sys.stderr.write("cannot start: the database is missing\n")
        sys.stderr.flush()
        os._exit(how["exit"])
    if how.get("hang"):
        return
    if "handshakeError" in how:
        send(id=message["id"], error=how["handshakeError"])
        return
    answer = {"name": message["params"]["name"], "version": "1.0", "reverseRpc": True, **how.get("answer", {})}
    if how.get("echoHandshake"):
        answer["capabilities"] = [json.dumps(message["params"])]
    send(id=message["id"], result=answer)
    if "ready" in how:
        threading.Thread(target=declare_ready, daemon=True).start()


def shut_down(message):
    trace("shutdown")
    if "askAtShutdown" in how:
        threading.Thread(target=ask_at_shutdown, args=(message,), daemon=True).start()
        return
    pass_gate("shutdownGate")
    if not how.get("deaf"):
        send(id=message["id"], result={})


def ask_at_shutdown(message):
    trace(json.dumps(answer_of(ask_host(how["askAtShutdown"], None)), separators=(",", ":")))
    send(id=message["id"], result={})


def on_notification(method, params):
    if method == "plugin/onEvent":
        on_event(params)
    with seen:
        if method == "$/cancelRequest":
            cancelled.append(params["id"])
        elif method == "$/progress":
            progress.setdefault(params["id"], []).append(params["value"])
        seen.notify_all()


def on_request(method, message):
    if method == "plugin/handshake":
        handshake(message)
    elif method == "plugin/health":
        on_health(message)
    elif method == "plugin/shutdown":
        shut_down(message)
    elif method == "block":  # as a single-threaded plugin is blocked
        never.wait(message["params"]["seconds"])
        send(id=message["id"], result="done")
    elif method == "closeStdin":
        os.close(0)
        send(id=message["id"], result=True)
        never.wait()
    elif method == "stopReading":
        send(id=message["id"], result=True)
        never.wait()
    else:
        threading.Thread(target=serve, args=(message,), daemon=True).start()


def main():
    trace("start")
    if "crashUnless" in how and not os.path.exists(how["crashUnless"]):
        os._exit(5)
    if how.get("banner"):
        raw(how["banner"].encode())
    if how.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        message = read()
        if message is None:
            trace("eof")
            while how.get("deaf"):
                signal.pause()
            return
        method = message.get("method")
        if method is None:
            with seen:
                answers[message["id"]] = message
                seen.notify_all()
        elif "id" in message:
            on_request(method, message)
        else:
            on_notification(method, message.get("params"))


main()
