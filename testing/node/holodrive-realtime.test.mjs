// The rules of holodrive-realtime.js, on a clock and a WebSocket of the test's own: `node --test` runs it without a
// page, a server or a network.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { AnotherUser, RealtimeError, SignedOut, connect, retryDelay } from "../../holodrive/realtime/static/realtime/holodrive-realtime.js";

const URL = "ws://example.com/ws/chat/1/";
const real = { setTimeout, clearTimeout, random: Math.random, now: performance.now };
const settled = () => new Promise(setImmediate);
let now, timers, dialled, chance, open;

class FakeSocket {
  constructor(url, protocols) {
    Object.assign(this, { url: String(url), protocols, at: now, sent: [], isOpen: true });
    dialled.push(this);
  }
  send(text) {
    if (this.isOpen) this.sent.push(JSON.parse(text));
  }
  close() {
    this.isOpen = false;
  }
  says(type, fields = {}) {
    this.onmessage?.({ data: JSON.stringify({ type, ...fields }) });
  }
  welcomes(last_seq = 0) {
    this.says("connection_established", { last_seq, heartbeat_interval: 25 });
  }
  ends(code) {
    this.isOpen = false;
    this.onclose?.({ code });
  }
}

async function pass(ms) {
  const until = now + ms;
  for (;;) {
    await settled();
    const [id, due] = [...timers].sort(([, a], [, b]) => a.at - b.at)[0] ?? [];
    if (id === undefined || due.at > until) break;
    timers.delete(id);
    now = due.at;
    due.act();
  }
  now = until;
}

beforeEach(() => {
  [now, timers, dialled, chance, open] = [1000, new Map(), [], 0.5, []];
  let ids = 0;
  globalThis.WebSocket = FakeSocket;
  globalThis.setTimeout = (act, ms) => timers.set(++ids, { at: now + ms, act }) && ids;
  globalThis.clearTimeout = (id) => timers.delete(id);
  performance.now = () => now;
  Math.random = () => chance;
});

afterEach(() => {
  open.forEach(({ socket }) => socket.close());
  assert.equal(timers.size, 0, "a closed socket keeps a timer, and so the process");
  Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout });
  performance.now = real.now;
  Math.random = real.random;
});

/** A client, and all that its owner hears. */
function client(options = {}) {
  const heard = { frames: [], states: [], problem: undefined };
  const onFrame = (frame) => heard.frames.push(frame);
  const onState = (state, problem) => heard.states.push(state) && (heard.problem = problem);
  heard.socket = connect({ url: URL, onFrame, onState, ...options });
  open.push(heard);
  return heard;
}

/** The next connection that is dialled within `ms`. */
async function next(ms = 0) {
  const before = dialled.length;
  await pass(0);
  for (let waited = 0; dialled.length === before && waited < ms; waited++) await pass(1);
  assert.equal(dialled.length, before + 1, `${dialled.length - before} connections were dialled`);
  return dialled.at(-1);
}

async function outcome(promise) {
  return promise.then(
    (ack) => ack.message_id,
    (problem) => problem.code,
  );
}

test("the token is asked for before every connection, and stands in no URL", async () => {
  let count = 0;
  client({ token: async () => `t${++count}` });
  let socket = await next();
  assert.deepEqual([socket.url, socket.protocols], [URL, ["jwt", "t1"]]);
  socket.welcomes(7);
  socket.ends(1006);
  socket = await next(500);
  assert.deepEqual([socket.url, socket.protocols], [`${URL}?last_seq=7`, ["jwt", "t2"]]);
});

test("a session needs no protocol, and a URL of http is dialled as ws", async () => {
  client({ url: "https://example.com/ws/notifications/" });
  const socket = await next();
  assert.deepEqual([socket.url, socket.protocols], ["wss://example.com/ws/notifications/", []]);
});

test("after 4401 a new token is asked for at once, and then rarely", async () => {
  chance = 1;
  const stale = [];
  const heard = client({ token: (old) => stale.push(old) && `t${stale.length}` });
  (await next()).ends(4401);
  const second = await next();
  second.says("error", { code: "unauthenticated", message: "No.", ref: null });
  second.ends(4401);
  await pass(1_999);
  assert.deepEqual(stale, [undefined, "t1"]);
  assert.deepEqual([heard.states.at(-1), heard.problem.code], ["signed-out", "unauthenticated"]);
  const third = await next(1);
  assert.deepEqual(third.protocols, ["jwt", "t3"]);
  third.welcomes();
  assert.deepEqual([heard.socket.state, heard.problem], ["live", undefined]);
});

test("a token that was refused is not shown again, and another one is", async () => {
  const tokens = ["same", "same", "same", "same", "another"];
  const heard = client({ token: () => tokens.shift() ?? "another" });
  (await next()).ends(4401);
  (await next()).ends(4401);
  await pass(15_000);
  assert.deepEqual([heard.socket.state, dialled.length, tokens], ["signed-out", 2, ["another"]]);
  assert.deepEqual((await next(40_000)).protocols, ["jwt", "another"]);
});

test("a token that is accepted makes room for another 4401, which never becomes a loop", async () => {
  const heard = client({ token: () => "t" });
  for (let round = 0; round < 10; round++) {
    const socket = await next(20_000);
    socket.welcomes();
    socket.ends(4401);
  }
  assert.ok(now - 1000 > 30_000, `ten connections in ${now - 1000} ms`);
  const socket = await next(20_000);
  socket.welcomes();
  await pass(6_000);
  socket.ends(4401); // it had worked: the token has expired
  await next(0);
  assert.equal(heard.socket.state, "connecting");
});

test("a session that is refused is tried again ever more rarely, and what waits goes on waiting", async () => {
  chance = 1;
  const heard = client();
  const waiting = outcome(heard.socket.sendMessage("Hi", "a"));
  (await next()).ends(4401);
  assert.deepEqual([heard.socket.state, heard.problem.code], ["signed-out", "closed"]);
  for (const seconds of [2, 8, 32, 128, 300, 300]) {
    await pass(1000 * seconds - 1);
    (await next(1)).ends(4401);
  }
  await pass(299_999);
  const socket = await next(1);
  socket.says("connection_established", { last_seq: 0, user_id: 7 });
  assert.deepEqual(heard.states, ["signed-out", "live"]);
  socket.says("message_ack", { client_message_id: "a", message_id: 5 });
  assert.equal(await waiting, 5);
});

test("a session that is refused is tried when somebody looks, once for all that happens then", async () => {
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  const heard = client();
  delete globalThis.addEventListener;
  (await next()).ends(4401);
  for (const event of ["focus", "online", "focus"]) {
    await pass(500);
    page.dispatchEvent(new Event(event));
    page.dispatchEvent(new Event(event));
  }
  assert.equal(dialled.length, 2);
  dialled.at(-1).ends(4401);
  heard.socket.retryNow(); // another tab has logged in
  assert.equal(dialled.length, 2);
  const socket = await next(1000);
  socket.welcomes();
  page.dispatchEvent(new Event("focus"));
  assert.deepEqual(socket.sent, []); // what is live needs no proof
});

test("where the server is away after a logout, it waits as ever", async () => {
  chance = 1;
  const heard = client();
  (await next()).ends(4401);
  (await next(2000)).ends(1006);
  assert.deepEqual([heard.socket.state, heard.problem], ["waiting", undefined]);
  (await next(500)).ends(4401);
  assert.deepEqual(heard.states, ["signed-out", "waiting", "connecting", "signed-out"]);
});

for (const [name, options, first] of [
  ["the one before", {}, 7],
  ["the page", { userId: 7 }, "7"],
  ["the page, as text", { userId: "7" }, 7],
]) {
  test(`a socket of another user than ${name} is stopped, and nothing of it is handed on or sent`, async () => {
    const heard = client(options);
    const socket = await next();
    socket.says("connection_established", { last_seq: 0, user_id: first });
    socket.ends(4401);
    const waiting = outcome(heard.socket.sendMessage("As the first", "a"));
    const second = await next(2_000);
    second.says("connection_established", { last_seq: 9, user_id: 8 });
    second.says("chat_message", { seq: 1 });
    await pass(600_000);
    assert.deepEqual([heard.socket.state, heard.problem.code, dialled.length], ["stopped", "another_user", 2]);
    assert.deepEqual([second.sent, second.isOpen, heard.frames.length], [[], false, 1]);
    assert.equal(await waiting, "another_user");
  });
}

test("that the page is of another user than the login may be told by its owner", async () => {
  for (const options of [{ url: () => Promise.reject(new AnotherUser()) }, { reload: () => Promise.reject(new AnotherUser()) }]) {
    const heard = client(options);
    await pass(60_000);
    assert.deepEqual([heard.states, heard.problem.code, dialled.length], [["stopped"], "another_user", 0]);
  }
});

test("a url that is a function is asked before every connection, behind all else", async () => {
  const asked = [];
  const heard = client({
    reload: () => asked.push("reload") && 5,
    token: () => asked.push("token") && "t",
    url: async () => asked.push("url") && `https://example.com/ws/chat/1/?ticket=${asked.length}`,
  });
  const first = await next();
  assert.deepEqual([first.url, first.protocols], ["wss://example.com/ws/chat/1/?ticket=3&last_seq=5", ["jwt", "t"]]);
  first.welcomes(5);
  first.ends(1006);
  assert.equal((await next(500)).url, "wss://example.com/ws/chat/1/?ticket=5&last_seq=5");
  assert.deepEqual(asked, ["reload", "token", "url", "token", "url"]);
  assert.equal(heard.socket.state, "connecting");
});

test("a ticket that came too late is replaced at once; a second refusal is the login's", async () => {
  chance = 1;
  let tickets = 0;
  const heard = client({ url: () => `${URL}?ticket=${++tickets}` });
  (await next()).ends(4401);
  const second = await next();
  second.welcomes();
  second.ends(4401);
  (await next(20_000)).ends(4401);
  await pass(1_999);
  assert.deepEqual([tickets, heard.socket.state], [3, "signed-out"]);
  await next(1);
});

test("a url that cannot be had now is asked for again, and rarely without a login", async () => {
  const [network, none] = [new Error("network"), new SignedOut()];
  const answers = [() => Promise.reject(network), () => "no url", () => Promise.reject(none), () => Promise.reject(none), () => URL];
  const heard = client({ url: () => answers.shift()() });
  await pass(0);
  assert.equal(heard.socket.state, "waiting");
  await pass(2_000);
  assert.deepEqual([heard.socket.state, heard.problem, dialled.length], ["signed-out", none, 0]);
  (await next(10_000)).welcomes();
  assert.deepEqual(heard.states.slice(-2), ["signed-out", "live"]);
});

test("closed while its url is on its way, nothing is dialled", async () => {
  let give;
  const heard = client({ url: () => new Promise((resolve) => (give = resolve)) });
  await pass(0);
  heard.socket.close();
  give(URL);
  await pass(60_000);
  assert.deepEqual([heard.socket.state, dialled.length], ["stopped", 0]);
});

test("a token that cannot be had now is asked for again, one that is none ends it", async () => {
  const answers = [() => Promise.reject(new Error("network")), () => "t", () => Promise.reject(new SignedOut())];
  const heard = client({ token: () => answers.shift()() });
  await pass(0);
  assert.equal(heard.socket.state, "waiting");
  (await next(500)).ends(1006);
  await pass(2_000);
  assert.equal(heard.socket.state, "signed-out");
  const other = client({ token: () => "" });
  await pass(0);
  assert.equal(other.socket.state, "signed-out");
});

test("an expiring token is renewed on the open socket, and never asked for twice at a time", async () => {
  let count = 0;
  const answers = [];
  client({ token: (stale) => (++count === 1 ? "t1" : new Promise((answer) => answers.push([stale, answer]))) });
  const socket = await next();
  socket.welcomes();
  socket.says("token_expiring", { expires_at: "2026-01-01T00:00:00.000000+00:00" });
  socket.says("token_expiring", { expires_at: "2026-01-01T00:00:00.000000+00:00" });
  await pass(0);
  assert.deepEqual([count, answers.length, answers[0][0]], [2, 1, "t1"]);
  answers[0][1]("t2");
  await pass(0);
  assert.deepEqual(socket.sent[0], { type: "token_refresh", token: "t2" });
});

for (const code of [4400, 4403, 4404]) {
  test(`${code} is final`, async () => {
    const heard = client();
    const waiting = outcome(heard.socket.sendMessage("Hi"));
    const socket = await next();
    socket.says("error", { code: "not_found", message: "No.", ref: null });
    socket.ends(code);
    await pass(120_000);
    assert.deepEqual([heard.socket.state, heard.problem.code, dialled.length], ["stopped", "not_found", 1]);
    assert.equal(await waiting, "not_found");
    assert.equal(await outcome(heard.socket.sendMessage("Hi")), "not_found");
  });
}

test("lost connections are dialled with full jitter of 0.5 to 20 s", async () => {
  for (const [luck, expected] of [
    [1, [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]],
    [0.25, [125, 250, 500, 1000, 2000, 4000, 5000, 5000]],
    [0, [0, 0, 0, 0, 0, 0, 0, 0]],
  ]) {
    chance = luck;
    dialled.length = 0;
    const { socket } = client();
    await pass(0);
    for (let round = 0; round < 8; round++) {
      dialled.at(-1).ends([1006, 1011, 1005][round % 3]);
      await pass(expected[round]);
    }
    assert.deepEqual(dialled.slice(1).map(({ at }, place) => at - dialled[place].at), expected);
    socket.close();
  }
});

test("a connection that lasted starts the backoff anew, one that did not does not", async () => {
  chance = 1;
  client();
  (await next()).ends(1006);
  (await next(500)).welcomes();
  dialled.at(-1).ends(1006);
  (await next(1000)).welcomes();
  await pass(5_001);
  dialled.at(-1).ends(1006);
  await next(500);
});

test("4408 resumes at once, but not in a loop", async () => {
  chance = 1;
  client();
  const first = await next();
  first.welcomes(3);
  await pass(5_001);
  first.ends(4408);
  const second = await next(0);
  assert.equal(second.url, `${URL}?last_seq=3`);
  second.welcomes(3);
  second.ends(4408);
  await pass(499);
  assert.equal(dialled.length, 2);
  await next(1);
});

for (const code of [4409, 4429]) {
  test(`${code} backs off longest, whatever the page does`, async () => {
    chance = 0;
    const page = new EventTarget();
    globalThis.addEventListener = page.addEventListener.bind(page);
    client();
    delete globalThis.addEventListener;
    (await next()).ends(code);
    page.dispatchEvent(new Event("online"));
    await pass(9_999);
    assert.equal(dialled.length, 1);
    await next(1);
  });
}

test("a restart is waited for as long as the server says, even if it drops the connection", async () => {
  for (const code of [1012, 1006]) {
    client();
    const socket = await next();
    socket.welcomes();
    socket.says("reconnect", { delay_ms: 3_000 });
    socket.ends(code);
    await pass(2_999);
    const again = await next(1);
    again.ends(1006); // of which nobody said a word
    await next(500);
  }
});

test("the network coming back ends a backoff, and makes an open socket prove itself", async () => {
  chance = 1;
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  client();
  delete globalThis.addEventListener;
  (await next()).ends(1006);
  await pass(10);
  page.dispatchEvent(new Event("online"));
  const socket = await next(0);
  socket.welcomes();
  page.dispatchEvent(new Event("offline"));
  assert.deepEqual(socket.sent, [{ type: "ping" }]);
  await pass(10_000);
  assert.equal(socket.isOpen, false);
  await next(1000);
});

test("without a first frame, or an answer to a ping, a socket is given up", async () => {
  client();
  const first = await next();
  await pass(10_000);
  assert.equal(first.isOpen, false);
  const second = await next(500);
  second.welcomes();
  await pass(50_000);
  assert.deepEqual(second.sent, [{ type: "ping" }]);
  second.says("pong");
  await pass(60_000);
  assert.equal(second.isOpen, false);
});

test("an ack is no event: its chat_message counts, whichever comes first", async () => {
  const heard = client({ lastSeq: 4 });
  const socket = await next();
  socket.welcomes(4);
  socket.says("resumed", { recovered: true });
  socket.says("message_ack", { client_message_id: "a", seq: 5 });
  socket.says("chat_message", { seq: 5 });
  socket.says("chat_message", { seq: 6 });
  socket.says("message_ack", { client_message_id: "b", seq: 6 });
  const seen = heard.frames.filter(({ type }) => type === "chat_message");
  assert.deepEqual(seen.map(({ seq }) => seq), [5, 6]);
  assert.deepEqual(socket.sent, []);
});

test("what is known falls, a jump is filled, and nothing is applied out of order", async () => {
  const heard = client({ lastSeq: 4 });
  const socket = await next();
  socket.welcomes(9);
  for (const seq of [4, 5, 5, 7]) socket.says("chat_message", { seq });
  assert.deepEqual(socket.sent, []); // its resume is still on: ?last_seq=4
  socket.says("chat_message", { seq: 6 });
  socket.says("resumed", { recovered: true });
  for (const seq of [8, 9, 10]) socket.says("chat_message", { seq });
  assert.deepEqual(socket.sent, [{ type: "resume", last_seq: 6 }]);
  for (const seq of [7, 8]) socket.says("chat_message", { seq });
  socket.says("typing", { user_id: 2 });
  socket.says("resumed", { recovered: true });
  const seen = heard.frames.filter(({ type }) => !["connection_established", "resumed"].includes(type));
  assert.deepEqual(seen.map(({ type, seq }) => seq ?? type), [5, 6, 7, 8, "typing"]);
  assert.equal(heard.socket.lastSeq, 8);
});

test("what cannot be resumed is reloaded", async () => {
  const seqs = [3, 50];
  const heard = client({ reload: async () => seqs.shift() });
  const first = await next();
  assert.equal(first.url, `${URL}?last_seq=3`);
  first.welcomes(40);
  first.says("resumed", { recovered: false, from_seq: 3, to_seq: 40, count: 0 });
  assert.equal((await next(500)).url, `${URL}?last_seq=50`);
  assert.equal(heard.socket.lastSeq, 50);
});

test("without reload, it goes on from the head, and its owner can tell", async () => {
  const heard = client({ lastSeq: 3 });
  const socket = await next();
  socket.welcomes(40);
  socket.says("resumed", { recovered: false, from_seq: 3, to_seq: 40, count: 0 });
  assert.equal(heard.socket.lastSeq, 40);
  socket.says("chat_message", { seq: 41 });
  assert.deepEqual(heard.frames.map(({ type }) => type), ["connection_established", "resumed", "chat_message"]);
  assert.equal(heard.socket.lastSeq, 41);
  const wrong = client({ lastSeq: -1 });
  const other = await next();
  other.says("error", { code: "invalid_message", ref: "resume" });
  other.welcomes(5);
  other.says("chat_message", { seq: 6 });
  assert.equal(wrong.socket.lastSeq, 6);
});

test("a message is sent with the same id until it is acknowledged, in order", async () => {
  const heard = client();
  const results = ["one", "two", "three"].map((text) => outcome(heard.socket.sendMessage(text)));
  const ids = heard.socket.unacknowledged.map(({ client_message_id }) => client_message_id);
  assert.equal(new Set(ids).size, 3);
  let socket = await next();
  assert.deepEqual(socket.sent, []);
  socket.welcomes();
  const frame = (place) => ({ type: "chat_message", message: ["one", "two", "three"][place], client_message_id: ids[place] });
  assert.deepEqual(socket.sent, [frame(0)]);
  socket.ends(1006); // perhaps it was stored, perhaps not
  socket = await next(500);
  socket.welcomes();
  socket.says("message_ack", { client_message_id: "somebody's", message_id: 9 });
  assert.deepEqual(socket.sent, [frame(0)]);
  for (const place of [0, 1, 2]) socket.says("message_ack", { client_message_id: ids[place], message_id: place });
  assert.deepEqual(socket.sent, [0, 1, 2].map(frame));
  assert.deepEqual(await Promise.all(results), [0, 1, 2]);
  assert.deepEqual(heard.socket.unacknowledged, []);
});

test("a refusal rejects that message only, and a passing failure is tried again in its place", async () => {
  chance = 1;
  const heard = client();
  const socket = await next();
  socket.welcomes();
  const [bad, good] = [heard.socket.sendMessage("", "bad"), heard.socket.sendMessage("Hi", "good")].map(outcome);
  socket.says("error", { code: "invalid_message", message: "Blank.", ref: "bad" });
  assert.equal(await bad, "invalid_message");
  socket.says("error", { code: "rate_limited", message: "Slower.", ref: "good" });
  await pass(999);
  assert.equal(socket.sent.length, 2);
  await pass(1);
  assert.deepEqual(socket.sent[2], socket.sent[1]);
  socket.says("message_ack", { client_message_id: "good", message_id: 5 });
  assert.equal(await good, 5);
});

test("a socket that is closed sends nothing again, and listens to nobody", async () => {
  const listening = [];
  globalThis.addEventListener = (name, act, { signal }) => listening.push(signal);
  const heard = client();
  delete globalThis.addEventListener;
  const socket = await next();
  socket.welcomes();
  const result = outcome(heard.socket.sendMessage("Hi", "a"));
  socket.says("error", { code: "internal", message: "Failed.", ref: "a" });
  heard.socket.close();
  assert.equal(timers.size, 0);
  assert.equal(await result, "closed");
  assert.deepEqual(listening.map(({ aborted }) => aborted), [true, true, true, true]);
});

test("a message at which the server always fails is given up, and blocks nobody for ever", async () => {
  const heard = client();
  const socket = await next();
  socket.welcomes();
  const result = outcome(heard.socket.sendMessage("poison", "a"));
  heard.socket.sendMessage("next", "b").catch(() => {});
  for (let round = 1; round <= 8; round++) {
    assert.equal(socket.sent.length, round);
    socket.says("error", { code: "internal", message: "Failed.", ref: "a" });
    await pass(Math.min(10_000, 250 * 2 ** round));
  }
  assert.equal(await result, "internal");
  assert.equal(socket.sent.at(-1).client_message_id, "b");
});

test("what is too large is not sent again, however the server says it", async () => {
  const heard = client();
  let socket = await next();
  socket.welcomes();
  const said = outcome(heard.socket.sendMessage("x".repeat(70_000)));
  socket.says("error", { code: "too_large", message: "At most 65,536 bytes.", ref: null });
  assert.equal(await said, "too_large");
  const closed = outcome(heard.socket.sendMessage("x".repeat(2_000_000)));
  socket.ends(1009);
  assert.equal(await closed, "too_large");
  socket = await next(500);
  socket.welcomes();
  assert.deepEqual(socket.sent, []);
});

test("an unanswered message is a reason to try another connection", async () => {
  const heard = client();
  const socket = await next();
  socket.welcomes();
  heard.socket.sendMessage("Hi", "a").catch(() => {});
  await pass(10_000);
  assert.equal(socket.isOpen, false);
  (await next(500)).welcomes();
  assert.equal(dialled[1].sent[0].client_message_id, "a");
});

test("the same id again is the same message", async () => {
  const { socket } = client();
  const first = socket.sendMessage("Hi", "a");
  assert.equal(socket.sendMessage("Hi", "a"), first);
  first.catch(() => {});
  assert.equal(socket.unacknowledged.length, 1);
});

test("what is withdrawn is not sent again, and the next one goes", async () => {
  const { socket } = client();
  const [first, second] = ["a", "b"].map((id) => outcome(socket.sendMessage("Hi", id)));
  const server = await next();
  server.welcomes();
  assert.equal(socket.withdraw("a"), true);
  assert.equal(await first, "withdrawn");
  assert.equal(socket.withdraw("a"), false);
  server.says("message_ack", { client_message_id: "a", message_id: 1 }); // its ack may come all the same
  assert.deepEqual(server.sent.map(({ client_message_id }) => client_message_id), ["a", "b"]);
  server.says("message_ack", { client_message_id: "b", message_id: 2 });
  assert.equal(await second, 2);
});

test("close is for good, whatever is on its way", async () => {
  let answer;
  const heard = client({ token: () => new Promise((resolve) => (answer = resolve)) });
  const waiting = outcome(heard.socket.sendMessage("Hi"));
  heard.socket.close();
  answer("t");
  await pass(60_000);
  assert.deepEqual([dialled.length, heard.states, await waiting], [0, ["stopped"], "closed"]);
});

test("a WebSocket that cannot be made is said, not retried", async () => {
  globalThis.WebSocket = class {
    constructor() {
      throw new SyntaxError("no such protocol");
    }
  };
  const heard = client({ token: () => "not a token" });
  await pass(60_000);
  assert.deepEqual([heard.states, heard.problem.message], [["stopped"], "no such protocol"]);
  assert.throws(() => connect({ url: "no address" }), TypeError);
});

test("an owner that throws does not break the connection", async () => {
  const thrown = [];
  const real = globalThis.queueMicrotask;
  globalThis.queueMicrotask = (act) => thrown.push(act);
  const heard = client({ onFrame: () => assert.fail("frame"), onState: () => assert.fail("state") });
  const socket = await next();
  socket.welcomes();
  const sent = outcome(heard.socket.sendMessage("Hi", "a"));
  socket.says("message_ack", { client_message_id: "a", message_id: 1 });
  assert.equal(await sent, 1);
  socket.ends(1006);
  await next(500);
  heard.socket.close();
  globalThis.queueMicrotask = real;
  assert.throws(thrown[0], /state/);
});

// The rule of retries, for sockets and for REST

const network = new TypeError("Failed to fetch");
const slow = new DOMException("Too late", "TimeoutError");
const answer = (status, rest = {}) => ({ status, code: "x", ...rest });
for (const [problem, twiceAsOnce, elseToo] of [
  [{ type: "error", code: "unavailable", retryable: true }, true, true],
  [{ type: "error", code: "whatever", retryable: true }, true, true],
  [{ type: "error", code: "internal", retryable: false }, false, false],
  [{ type: "error", code: "rate_limited" }, true, true],
  [{ type: "error", code: "unavailable" }, true, true],
  [{ type: "error", code: "internal" }, true, false],
  [{ type: "error", code: "invalid_message" }, false, false],
  [{ type: "error", code: "conversation_closed" }, false, false],
  [{ type: "error", code: "idempotency_conflict" }, false, false],
  [answer(503, { retryable: true }), true, true],
  [answer(409, { retryable: true }), true, true],
  [answer(503, { retryable: false }), false, false],
  [answer(408), true, true],
  [answer(425), true, true],
  [answer(429), true, true],
  [answer(503), true, true],
  ...[500, 502, 504, 507, 511, 520, 521, 522, 523, 524, 525, 527, 529, 530, 599].map((status) => [answer(status), true, false]),
  ...[200, 304, 400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 422, 428, 431, 451, 501, 505].map((status) => [answer(status), false, false]),
  [answer(409, { code: "rate_limited" }), false, false],
  [answer(503, { retryAfter: "2" }), true, true],
  [answer(503, { retryAfter: "3600" }), false, false],
  [network, true, false],
  [slow, true, false],
  [new DOMException("Left", "AbortError"), false, false],
  [new SyntaxError("no JSON"), false, false],
  [new SignedOut(), false, false],
  [new AnotherUser(), false, false],
  [new RealtimeError("closed", "It was closed."), false, false],
  [undefined, false, false],
]) {
  test(`it may be sent again after ${JSON.stringify(problem)} ${problem?.name ?? ""}: ${twiceAsOnce}, ${elseToo}`, () => {
    assert.equal(retryDelay(problem, 1) !== null, twiceAsOnce);
    assert.equal(retryDelay(problem, 1, { isIdempotent: false }) !== null, elseToo);
    assert.equal(retryDelay(problem, 8), null);
  });
}

test("it is sent again after a random time that grows, and not before it is wanted", () => {
  const delays = (problem, most) => Array.from({ length: 8 }, (_, place) => retryDelay(problem, place + 1, { most }));
  chance = 1;
  assert.deepEqual(delays(answer(503)), [1000, 2000, 4000, 8000, 16_000, 20_000, 20_000, null]);
  assert.deepEqual(delays(answer(503), 3).slice(0, 4), [1000, 2000, null, null]);
  chance = 0.5;
  assert.deepEqual(delays(network, Infinity), [500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
  chance = 0;
  for (const [retryAfter, ms] of [["2", 2000], [" 7 ", 7000], ["0", 0], ["60", 60_000], ["61", null], ["-1", 0], ["soon", 0], ["", 0], [null, 0]])
    assert.equal(retryDelay(answer(429, { retryAfter }), 1), ms, String(retryAfter));
  const date = retryDelay(answer(503, { retryAfter: new Date(Date.now() + 30_000).toUTCString() }), 1);
  assert.ok(date > 25_000 && date <= 30_000, String(date));
  assert.equal(retryDelay(answer(503, { retryAfter: "Mon, 01 Jan 2001 00:00:00 GMT" }), 1), 0);
});
