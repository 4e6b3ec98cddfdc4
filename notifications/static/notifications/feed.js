// @ts-check
// One socket for all tabs of a browser: the tab that holds the lock keeps it, and shares each frame with the others.
// Where there are no Web Locks (pages of plain http), each tab keeps a socket of its own. Where no socket opens but
// the site answers (a proxy that knows no WebSocket), it asks over REST, and is "blocked".

import { AnotherUser, SignedOut, connect } from "../realtime/holodrive-realtime.js";
import { onLogin } from "./session.js";

/**
 * @typedef {import("../realtime/holodrive-realtime.js").Frame} Frame
 * @typedef {import("../realtime/holodrive-realtime.js").Command} Command
 * @typedef {import("../realtime/holodrive-realtime.js").State} State
 * @typedef {import("../realtime/holodrive-realtime.js").RealtimeSocket} RealtimeSocket
 * @typedef {{url: import("../realtime/holodrive-realtime.js").Options["url"], userId: string, reload: () => Promise<number>,
 *   sendByRest: (command: Command) => Promise<Frame>, unreadCount: () => number, onFrame: (frame: Frame) => void,
 *   onState: (state: State | "blocked", problem?: Error) => void}} Options
 * @typedef {{kind: "frame", frame: Frame} | {kind: "standing", state: State | "blocked", lastSeq: number | null, unread: number}
 *   | {kind: "command", command: Command} | {kind: "who"} | {kind: "polled"}} Note
 */

const RELOAD_AGAIN_MS = 5_000;
const POLL_MS = 15_000;

/** As RealtimeSocket, as far as the bell needs it: whether this tab leads or follows is not seen from outside. */
export class Feed {
  #name;
  #options;
  /** @type {BroadcastChannel | null} */ #channel = null;
  /** @type {RealtimeSocket | null} */ #socket = null;
  /** The last logged frame that came from the leader, or what `reload` stands for. */
  /** @type {number | null} */ #lastSeq = null;
  /** @type {Promise<void> | null} */ #loading = null;
  /** @type {Frame[]} */ #held = [];
  #isOver = false;
  #isBlocked = false;
  #isSignedOut = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #pollTimer;

  /** @param {string} name the same in all tabs of one user, and in no others @param {Options} options */
  constructor(name, options) {
    this.#name = name;
    this.#options = options;
  }

  async start() {
    if (!navigator.locks) return this.#lead();
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = (event) => this.#hear(event.data);
    document.addEventListener("visibilitychange", () => document.hidden || this.#post({ kind: "who" }));
    const { locks } = navigator;
    const led = await locks.request(this.#name, { ifAvailable: true }, (lock) => lock && this.#lead());
    if (led !== null) return;
    this.#follow();
    await locks.request(this.#name, () => this.#lead());
  }

  get lastSeq() {
    return this.#socket ? this.#socket.lastSeq : this.#lastSeq;
  }

  /** What no leader is there to send is lost: repeat it at the next first frame. @param {Command} command */
  send(command) {
    if (!this.#socket) this.#post({ kind: "command", command });
    else if (!this.#socket.send(command) && this.#isBlocked) this.#sendByRest(command);
  }

  resync() {
    if (this.#socket) this.#socket.resync();
    else this.#follow();
  }

  // Leading

  /** Until it is over: then the next tab finds out for itself. @returns {Promise<true>} */
  async #lead() {
    await this.#loading; // two at a time could end in the wrong order
    await new Promise((resign) => {
      const { url, userId, reload } = this.#options;
      const lastSeq = this.#lastSeq ?? undefined;
      const onFrame = (/** @type {Frame} */ frame) => this.#share(frame);
      const onState = (/** @type {State} */ state, /** @type {Error | undefined} */ problem) => {
        if (state === "live" || state === "signed-out") this.#isBlocked = this.#isSignedOut = false;
        this.#pollWhile(state === "waiting" || state === "connecting");
        if (state === "stopped") {
          this.#options.onState(state, problem);
          resign(this.#end());
        } else this.#stand();
      };
      this.#socket = connect({ url, userId, reload, lastSeq, onFrame, onState });
      onLogin(() => this.#socket?.retryNow());
    });
    return true;
  }

  /** @param {Frame} frame */
  #share(frame) {
    this.#post({ kind: "frame", frame });
    this.#options.onFrame(frame);
  }

  /** Says how this browser stands, here and in the other tabs. */
  #stand() {
    const isAway = this.#isSignedOut ? "signed-out" : this.#socket?.state ?? "connecting";
    const state = this.#isBlocked ? "blocked" : isAway;
    this.#options.onState(state);
    const lastSeq = this.#socket?.lastSeq ?? null;
    this.#post({ kind: "standing", state, lastSeq, unread: this.#options.unreadCount() });
  }

  // Without a socket

  /** @param {boolean} isAway */
  #pollWhile(isAway) {
    if (isAway) this.#pollTimer ??= setInterval(() => this.#poll(), POLL_MS);
    else this.#pollTimer = void clearInterval(this.#pollTimer);
  }

  async #poll() {
    const problem = await this.#options.reload().then(() => null, (/** @type {unknown} */ problem) => problem ?? true);
    if (this.#isOver || this.#socket?.isLive) return;
    this.#isBlocked = problem === null; // if it does not answer, it is not the sockets alone
    if (problem === null) this.#post({ kind: "polled" });
    this.#isSignedOut = problem instanceof SignedOut;
    if (problem instanceof AnotherUser) this.#stop(problem);
    else this.#stand();
  }

  /** @param {AnotherUser} problem */
  #stop(problem) {
    this.#socket?.close();
    this.#options.onState("stopped", problem); // which says why
  }

  /** If it fails, it is repeated after the next poll. @param {Command} command */
  async #sendByRest(command) {
    const frame = await this.#options.sendByRest(command).catch(() => null);
    if (frame === null) return;
    this.#share(frame);
    await this.#poll();
  }

  #end() {
    this.#isOver = true;
    this.#channel?.close();
    this.#channel = null;
  }

  // Following

  /** Everything anew, as this tab shows it; what comes meanwhile is held. */
  #follow() {
    this.#loading ??= this.#load();
    return this.#loading;
  }

  async #load() {
    try {
      this.#lastSeq = await this.#options.reload();
    } catch (problem) {
      this.#loading = null;
      if (problem instanceof SignedOut) this.#options.onState("signed-out"); // until the leader is live again
      else if (problem instanceof AnotherUser) this.#options.onState("stopped", problem);
      else setTimeout(() => this.#socket || this.#isOver || this.#follow(), RELOAD_AGAIN_MS);
      return;
    }
    this.#loading = null;
    for (const frame of this.#held.splice(0)) this.#take(frame);
    this.#post({ kind: "who" });
  }

  /** @param {Note} note */
  #hear(note) {
    if (this.#socket) {
      if (note.kind === "command") this.send(note.command);
      if (note.kind === "who" && this.#socket.state === "signed-out") this.#socket.retryNow(); // somebody looks at that tab
      if (note.kind === "who") this.#stand();
    } else if (note.kind === "frame") this.#take(note.frame);
    else if (note.kind === "standing") this.#compare(note);
    else if (note.kind === "polled") this.#options.reload().catch(() => {}); // the leader's answer will do till the next
  }

  /** A tab that was asleep may have missed frames, and then no seq jumps until the next. @param {Note & {kind: "standing"}} note */
  #compare({ state, lastSeq, unread }) {
    this.#options.onState(state);
    if (this.#loading || state !== "live" || lastSeq === null) return;
    if (this.#lastSeq === null || lastSeq > this.#lastSeq) this.#follow();
    else if (lastSeq === this.#lastSeq) {
      this.#options.onFrame({ type: "connection_established", last_seq: lastSeq, unread_count: unread });
    }
  }

  /** @param {Frame} frame */
  #take(frame) {
    const { seq } = frame;
    if (this.#loading) this.#held.push(frame);
    else if (seq === undefined) this.#options.onFrame(frame);
    else if (this.#lastSeq === null || seq > this.#lastSeq + 1) {
      this.#held.push(frame);
      this.#follow();
    } else if (seq === this.#lastSeq + 1) {
      this.#lastSeq = seq;
      this.#options.onFrame(frame);
    }
  }

  /** @param {Note} note */
  #post(note) {
    this.#channel?.postMessage(note);
  }
}
