// notifier: keeps the last events of its host and logs a notice for those that its settings name.
//
// Events and settings live in this process's memory: a restart begins anew, and each worker process of a web server
// has a notifier of its own that knows the events of that worker.
"use strict";

const { RpcError, log, serve } = require("./wire.js");

const TYPES = ["SyncStarted", "SyncCompleted", "SyncFailed"];
const MAX_KEPT = 1000;

const settings = { types: ["SyncCompleted", "SyncFailed"], limit: 100 };
const events = [];
let received = 0;
let missed = 0; // sequence numbers that never came: events the host had to drop
let lastSequence = null;

const settingsSchema = {
  type: "object",
  properties: {
    types: { type: "array", items: { type: "string", enum: TYPES }, uniqueItems: true },
    limit: { type: "integer", minimum: 1, maximum: MAX_KEPT },
  },
  required: ["types"],
  additionalProperties: false,
};

const routes = [
  { path: "/events", method: "GET", description: "The last events, oldest first (?limit=n: the newest n)" },
  { path: "/settings", method: "GET", description: "Which events are notified and how many are kept" },
  { path: "/settings", method: "PUT", description: "Replace the settings", schema: settingsSchema },
];

function summary(event) {
  const { id, source, target, error } = event.payload ?? {};
  return `${event.type} ${id ?? ""}: ${source ?? "?"} -> ${target ?? "?"}${error ? ` (${error})` : ""}`;
}

function onEvent({ eventType, payload, metadata, timestamp }) {
  const sequence = metadata?.sequence ?? null;
  if (lastSequence !== null && sequence > lastSequence + 1) missed += sequence - lastSequence - 1;
  lastSequence = sequence ?? lastSequence;
  received += 1;
  const notified = settings.types.includes(eventType);
  const event = { sequence, type: eventType, eventId: metadata?.eventId ?? null, timestamp, payload, notified };
  events.push(event);
  events.splice(0, events.length - settings.limit);
  log(notified ? "notice" : "debug", summary(event));
}

function readEvents({ query }) {
  const asked = query?.limit?.[0] ?? String(settings.limit);
  if (!/^[0-9]{1,4}$/.test(asked)) return { status: 400, body: { error: `limit=${asked} is not a number from 0 to 9999` } };
  const newest = Number(asked) === 0 ? [] : events.slice(-Number(asked));
  return { status: 200, body: { events: newest, received, missed } };
}

function putSettings({ body }) {
  settings.types = body.types;
  settings.limit = body.limit ?? settings.limit;
  events.splice(0, events.length - settings.limit);
  log("info", `notifying ${settings.types.join(", ") || "nothing"}; keeping ${settings.limit} events`);
  return { status: 200, body: settings };
}

const handlers = {
  "GET /events": readEvents,
  "GET /settings": () => ({ status: 200, body: settings }),
  "PUT /settings": putSettings,
};

function handleRequest(request) {
  const handler = handlers[`${request.method} ${request.route}`];
  return handler ? handler(request) : { status: 404, body: { error: `no route ${request.method} ${request.route}` } };
}

function handshake({ protocolVersions }) {
  if (protocolVersions && !protocolVersions.includes("1.0")) {
    throw new RpcError(-32602, `this plugin speaks protocol 1.0; offered: ${protocolVersions}`);
  }
  return {
    name: "notifier", version: "1.0.0", protocolVersion: "1.0", capabilities: ["notify"],
    events: ["Sync*"], routes, reverseRpc: false,
  };
}

serve({
  "plugin/handshake": handshake,
  "plugin/health": () => ({ status: "ok", details: { received, missed } }),
  "plugin/onEvent": onEvent,
  "plugin/handleRequest": handleRequest,
  "plugin/shutdown": ({ reason }) => log("info", `stopping: ${reason ?? "no reason given"}`),
});
