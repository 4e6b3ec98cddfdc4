// @ts-check
// What is done while a socket is away: the site is asked over REST. If it answers, it is the sockets that are blocked
// (a proxy that knows no WebSocket), and not the network or the server.

import { SignedOut } from "../../realtime/holodrive-realtime.js";

/** @typedef {import("../../realtime/holodrive-realtime.js").State} State */

export const POLL_SECONDS = 5;

export class Fallback {
  #ask;
  #onChange;
  #isAway = false;
  #isAsking = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #timer;
  isBlocked = false;
  isSignedOut = false;

  /** @param {() => Promise<unknown>} ask loads what a socket would have told @param {() => void} onChange */
  constructor(ask, onChange) {
    this.#ask = ask;
    this.#onChange = onChange;
  }

  /** @param {State} state of the socket */
  follow(state) {
    this.#isAway = state === "connecting" || state === "waiting";
    if (this.#isAway) this.#timer ??= setInterval(() => this.#poll(), POLL_SECONDS * 1000);
    else {
      this.#timer = void clearInterval(this.#timer);
      this.isBlocked = this.isSignedOut = false;
    }
  }

  async #poll() {
    if (this.#isAsking) return;
    this.#isAsking = true;
    const problem = await this.#ask().then(() => null, (/** @type {unknown} */ problem) => problem ?? true);
    this.#isAsking = false;
    const [answers, isSignedOut] = [problem === null, problem instanceof SignedOut];
    if (!this.#isAway || (answers === this.isBlocked && isSignedOut === this.isSignedOut)) return;
    this.isBlocked = answers;
    this.isSignedOut = isSignedOut;
    this.#onChange();
  }
}
