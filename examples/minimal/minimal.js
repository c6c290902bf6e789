// A whole plugin in Node, without dependencies: answers the handshake, prints events, has one route, GET /hello.
"use strict";

function send(message) {
  const body = Buffer.from(JSON.stringify({ jsonrpc: "2.0", ...message }));
  process.stdout.write(Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n\r\n`), body]));
}

const methods = {
  "plugin/handshake": () => ({
    name: "minimal-node",
    version: "1.0.0",
    capabilities: [],
    routes: [{ path: "/hello", method: "GET", description: "Says hello" }],
  }),
  "plugin/onEvent": ({ eventType, payload }) => console.error(`event ${eventType}: ${JSON.stringify(payload)}`),
  "plugin/handleRequest": ({ method, path }) => ({ status: 200, body: { hello: "from Node", method, path } }),
  "plugin/shutdown": () => null,
};

function receive({ id, method, params }) {
  const known = Object.hasOwn(methods, method);
  const result = known ? methods[method](params) : null;
  if (id === undefined) return; // a notification: no answer
  if (known) send({ id, result });
  else send({ id, error: { code: -32601, message: `no method ${method}` } });
}

let bytes = Buffer.alloc(0);
process.stdin.on("data", (chunk) => {
  bytes = Buffer.concat([bytes, chunk]);
  for (;;) {
    const end = bytes.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = /^content-length: *(\d+)/im.exec(bytes.toString("latin1", 0, end));
    if (!length) process.exit(1); // this is not the protocol
    const start = end + 4;
    const stop = start + Number(length[1]);
    if (bytes.length < stop) return;
    const message = JSON.parse(bytes.toString("utf8", start, stop));
    bytes = bytes.subarray(stop);
    receive(message);
  }
});
process.stdin.on("end", () => process.exit(0)); // the host is gone
