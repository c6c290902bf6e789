// A plugin on vscode-jsonrpc (`npm install` here first): its framing and messages are the host's.
"use strict";

const rpc = require("vscode-jsonrpc/node");

const host = rpc.createMessageConnection(
  new rpc.StreamMessageReader(process.stdin),
  new rpc.StreamMessageWriter(process.stdout),
);
let greeted = 0;

host.onRequest("plugin/handshake", () => ({ name: "vscode-plugin", version: "1.0.0", capabilities: ["greet"] }));
host.onRequest("greet", ({ name }) => ({ greeting: `Hello, ${name}!`, greeted: ++greeted }));
host.onNotification("plugin/onEvent", ({ eventType }) => console.error(`event ${eventType}`));
host.onRequest("plugin/shutdown", () => null);
host.onClose(() => process.exit(0));
host.listen();
