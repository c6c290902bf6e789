// The wire, for a plugin without dependencies: `Content-Length: <n>\r\n\r\n<n bytes of JSON>` on stdin and stdout,
// JSON-RPC 2.0 inside. Logs go to stderr, one line each, with a syslog priority in front.
"use strict";

const MAX_HEADER = 4096;
const MAX_BODY = 16 * 1024 * 1024;
const PRIORITIES = { error: 3, warning: 4, notice: 5, info: 6, debug: 7 };

function log(level, text) {
  process.stderr.write(`<${PRIORITIES[level]}>${String(text).replace(/[\r\n]+/g, " ")}\n`);
}

function send(message) {
  const body = Buffer.from(JSON.stringify({ jsonrpc: "2.0", ...message }), "utf8");
  process.stdout.write(Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n\r\n`, "latin1"), body]));
}

// A splitter of bytes into frame bodies; throws where the bytes cannot be a frame.
function frames(deliver) {
  let chunks = [];
  let size = 0;
  let needed = 0; // bytes of the body that is being read; 0 while a header is
  const take = () => {
    const all = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, size);
    chunks = [];
    size = 0;
    return all;
  };
  const keep = (rest) => {
    chunks = rest.length ? [rest] : [];
    size = rest.length;
  };
  return (chunk) => {
    chunks.push(chunk);
    size += chunk.length;
    while (size > 0 && size >= needed) {
      let bytes = take();
      if (needed === 0) {
        const end = bytes.indexOf("\r\n\r\n");
        if (end > MAX_HEADER || (end < 0 && bytes.length > MAX_HEADER)) throw new Error("header over 4 KiB");
        if (end < 0) return keep(bytes);
        needed = contentLength(bytes.toString("latin1", 0, end));
        keep(bytes.subarray(end + 4));
      } else {
        const body = bytes.subarray(0, needed);
        keep(bytes.subarray(needed));
        needed = 0;
        deliver(body);
      }
    }
  };
}

function contentLength(header) {
  const found = header.split("\r\n").map((line) => /^content-length:[ \t]*([0-9]{1,10})[ \t]*$/i.exec(line)).filter(Boolean);
  const length = found.length === 1 ? Number(found[0][1]) : 0;
  if (length < 1 || length > MAX_BODY) throw new Error(`not one sensible Content-Length: ${JSON.stringify(header)}`);
  return length;
}

class RpcError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

// Answer requests with `methods[name](params)` and hand notifications to the same table, until stdin ends.
function serve(methods) {
  const receive = (body) => {
    let message;
    try {
      message = JSON.parse(body.toString("utf8"));
    } catch (error) {
      return send({ id: null, error: { code: -32700, message: `not JSON: ${error.message}` } });
    }
    if (message === null || typeof message !== "object" || typeof message.method !== "string") {
      return send({ id: null, error: { code: -32600, message: "not a JSON-RPC 2.0 request" } });
    }
    const known = Object.prototype.hasOwnProperty.call(methods, message.method);
    const isRequest = message.id !== undefined;
    try {
      if (!known && isRequest) throw new RpcError(-32601, `no method ${message.method}`);
      const result = known ? methods[message.method](message.params ?? {}) : null;
      if (isRequest) send({ id: message.id, result: result ?? null });
    } catch (error) {
      if (!(error instanceof RpcError)) log("error", error.stack);
      if (isRequest) send({ id: message.id, error: { code: error.code ?? -32603, message: error.message } });
    }
  };
  const split = frames(receive);
  process.stdin.on("data", (chunk) => {
    try {
      split(chunk);
    } catch (error) {
      log("error", `the host's stream is broken: ${error.message}`);
      process.exit(1);
    }
  });
  process.stdin.on("end", () => process.exit(0));
  process.stdout.on("error", () => process.exit(1)); // nobody is there to read us
}

module.exports = { RpcError, log, serve };
