// @ts-check
// HoloDrive's client for browsers and Node >= 22: keeps a WebSocket open and its place in the stream, and sends
// messages until they are acknowledged. One module, no build, no dependencies; shows nothing and stores nothing.
// What it does follows docs/reference/protocol.md; how to use it is in docs/how-to/use-the-javascript-client.md.

/**
 * @typedef {{type: string, seq?: number, [field: string]: any}} Frame
 * @typedef {{type: string, [field: string]: any}} Command
 * @typedef {{type: "message_ack", client_message_id: string, message_id: number, seq: number, created_at: string,
 *   duplicate: boolean}} Ack
 * @typedef {{message: string, client_message_id: string}} Unacknowledged
 * @typedef {string | URL} Address
 * @typedef {"connecting" | "live" | "waiting" | "signed-out" | "stopped"} State
 */

/**
 * @typedef {object} Options
 * @property {Address | (() => Address | Promise<Address>)} url of the socket, absolute or relative to the page. A
 *   function is asked before every connection, last of all, so that a one-time ticket in it is fresh; after 4401 once
 *   more at once. May throw SignedOut and AnotherUser; whatever else it throws is tried again. It must settle, as
 *   `token` must.
 * @property {(stale?: string) => string | Promise<string>} [token] asked before every connection, never twice at a
 *   time; without it the session cookie counts. `stale` is a token that the server no longer takes, or soon will not:
 *   give another. May throw SignedOut, which is final; whatever else it throws is tried again. It must settle: its time
 *   is its own.
 * @property {string | number} [userId] of whom the page is. A socket that turns out to be somebody else's (the cookie
 *   is that of another login now) is stopped before anything is handed on or sent. Without it, the first user counts.
 * @property {number} [lastSeq] the last logged frame that was processed in an earlier life; without it and without
 *   `reload`, frames come from now on
 * @property {() => number | Promise<number>} [reload] loads the whole state and gives the seq that it stands for.
 *   Asked for what events cannot bring up to date: at first without `lastSeq`, and when too much was missed. May throw
 *   SignedOut and AnotherUser, as `url`.
 * @property {(frame: Frame) => void} [onFrame] every logged frame once and in order, over any number of connections,
 *   and whatever else the server says
 * @property {(state: State, problem?: Error) => void} [onState] `problem` says why it is signed out or stopped
 */

const CLOSE = {
  TOO_LARGE: 1009,
  RESTART: 1012,
  BAD_FRAMES: 4400,
  UNAUTHENTICATED: 4401,
  FORBIDDEN: 4403,
  NOT_FOUND: 4404,
  TOO_SLOW: 4408,
  TOO_MANY_SOCKETS: 4409,
  TOO_FAST: 4429,
};
const ABNORMAL = 1006;
const FINAL_CLOSES = new Set([CLOSE.BAD_FRAMES, CLOSE.FORBIDDEN, CLOSE.NOT_FOUND]);
const LIMIT_CLOSES = new Set([CLOSE.TOO_MANY_SOCKETS, CLOSE.TOO_FAST]);
const PASSING_CODES = new Set(["internal", "rate_limited", "unavailable"]);
// By which nothing was done; of the other failures of a server that is not known.
const UNDONE_STATUSES = new Set([408, 425, 429, 503]);
const HOPELESS_STATUSES = new Set([501, 505]); // of all from 500 on: proxies have numbers of their own (520 to 530)

const BACKOFF_FIRST_MS = 500;
const BACKOFF_MOST_MS = 20_000;
const STABLE_MS = 5_000; // what lasted this long was a working connection, and starts the backoff anew
const ANSWER_MS = 10_000; // to the first frame, to a ping, to a message
const TRIES_MOST = 8; // of what is answered with a passing error: a minute or so
const RETRY_AFTER_MOST_MS = 60_000; // a person would rather be told
const SIGNED_OUT_FIRST_MS = 2_000; // the login may be on its way: another password makes another session
const SIGNED_OUT_MOST_MS = 300_000;
const SIGNED_OUT_LEAST_MS = 1_000; // between two tries, whatever happens to the page

/** What the server refused. `code` is that of the error frame, or "closed" where no frame came. */
export class RealtimeError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.name = new.target.name;
    this.code = code;
  }
}

/** There is no login now. A session may come back by itself, after a login in another tab. */
export class SignedOut extends RealtimeError {
  constructor(message = "Signed out") {
    super("unauthenticated", message);
  }
}

/** The login is another user's: what the page has is not theirs. */
export class AnotherUser extends RealtimeError {
  constructor(message = "Another user is logged in") {
    super("another_user", message);
  }
}

/**
 * When the same frame or request may be sent again: the one rule for whatever is sent from here, or over REST by others.
 * @param {unknown} problem an `error` frame, the answer to a request (`status`, and what its body has), or an exception
 * @param {number} tries that were made
 * @param {object} [how]
 * @param {boolean} [how.isIdempotent] twice is as once, by its id or its nature; else only what was surely not done
 * @param {number} [how.most] tries in all
 * @returns {number | null} milliseconds to wait, or null: it is final
 */
export function retryDelay(problem, tries, { isIdempotent = true, most = TRIES_MOST } = {}) {
  if (tries >= most || !mayPass(problem, isIdempotent)) return null;
  const asked = retryAfterMs(/** @type {{retryAfter?: string | null}} */ (problem).retryAfter);
  return asked > RETRY_AFTER_MOST_MS ? null : asked + backoff(tries);
}

/** How many milliseconds later there may be a login again. @param {number} refusals that there were before */
export function loginDelay(refusals) {
  return Math.min(SIGNED_OUT_MOST_MS, SIGNED_OUT_FIRST_MS * 4 ** refusals) * (1 + Math.random()) / 2;
}

/** @param {any} problem @param {boolean} isIdempotent */
function mayPass(problem, isIdempotent) {
  if (typeof problem?.retryable === "boolean") return problem.retryable;
  const { status, code, name } = problem ?? {};
  if (typeof status === "number") return UNDONE_STATUSES.has(status) || (isIdempotent && hasFailed(status));
  if (problem instanceof Error && !(problem instanceof RealtimeError)) {
    return isIdempotent && (problem instanceof TypeError || name === "TimeoutError" || name === "NetworkError"); // of `fetch`
  }
  return PASSING_CODES.has(code) && (isIdempotent || code !== "internal");
}

/** @param {number} status */
function hasFailed(status) {
  return status >= 500 && !HOPELESS_STATUSES.has(status);
}

/** @param {string | null | undefined} text seconds, or a date (RFC 9110, 10.2.3) */
function retryAfterMs(text) {
  if (!text) return 0;
  const ms = /^\s*\d+\s*$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? 0 : Math.max(0, ms);
}

/**
 * Opens a socket that stays open until `close`, or until the server says that trying again is of no use.
 * @param {Options} options
 */
export function connect(options) {
  const socket = new RealtimeSocket(options);
  socket.start();
  return socket;
}

/** What `connect` returns. */
export class RealtimeSocket {
  #options;
  /** @type {URL | null} */ #url = null;
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {State} */ #state = "connecting";
  /** The last logged frame that was handed on; null while `reload` or the first frame has to say. */
  #lastSeq;
  #attempt = 0;
  #failures = 0;
  #liveSince = Infinity;
  #heartbeatMs = 25_000;
  #isResuming = false;
  #mustSitOut = false;
  /** @type {number | null} */ #restartDelayMs = null;
  /** @type {string | undefined} */ #token;
  /** @type {string | undefined} */ #staleToken;
  #wasRefused = false;
  #refusals = 0;
  #triedAt = -Infinity;
  #isEnded = false;
  /** @type {string | undefined} */ #userId;
  /** @type {Promise<string> | null} */ #askedToken = null;
  /** @type {Frame | null} */ #lastError = null;
  /** @type {Error | undefined} */ #problem;
  #outgoing = new Outgoing();
  #listening = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #silenceTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #retryTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #resendTimer;

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    if (typeof options.url !== "function") this.#url = socketUrl(options.url);
    this.#lastSeq = options.lastSeq ?? null;
    if (options.userId !== undefined) this.#userId = String(options.userId);
  }

  /** `connect` does this. */
  start() {
    this.#listen();
    this.#connect();
  }

  get state() {
    return this.#state;
  }

  get isLive() {
    return this.#state === "live";
  }

  /** The seq of the last logged frame that was handed on: keep it, and go on from it in another life. */
  get lastSeq() {
    return this.#lastSeq;
  }

  /** The messages that no ack has come for, in their order. */
  get unacknowledged() {
    return this.#outgoing.unacknowledged;
  }

  /** What is sent while not live is lost: repeat it when it is. @param {Command} command @returns whether it was sent */
  send(command) {
    if (!this.isLive) return false;
    this.#socket?.send(JSON.stringify(command));
    return true;
  }

  /**
   * Sends a chat message, over as many connections as it takes. One after another: none overtakes the one before it.
   * Rejects with a RealtimeError if the server refuses it, or if this socket ends first; sending it again with the
   * same id is safe, here or over REST.
   * @param {string} message
   * @param {string} [clientMessageId] 1 to 64 characters, unique among this user's messages
   * @returns {Promise<Ack>}
   */
  sendMessage(message, clientMessageId = newId()) {
    if (this.#isEnded) return Promise.reject(this.#problem ?? new RealtimeError("closed", "This socket was closed."));
    const acknowledged = this.#outgoing.add(message, clientMessageId);
    if (this.#outgoing.unacknowledged.length === 1) this.#sendFirst();
    return acknowledged;
  }

  /**
   * Forgets a message that is to be delivered another way (over REST, with the same id: it is stored once). Its promise
   * is rejected with the code "withdrawn". @param {string} clientMessageId @returns whether it was unacknowledged
   */
  withdraw(clientMessageId) {
    const [first] = this.#outgoing.unacknowledged;
    const wasThere = this.#outgoing.withdraw(clientMessageId);
    if (wasThere && first?.client_message_id === clientMessageId) this.#sendFirst();
    return wasThere;
  }

  /** Start over from a fresh `reload`: what is known here cannot be brought up to date by events. */
  resync() {
    if (this.#isEnded) return;
    this.#lastSeq = null;
    if (this.#state !== "signed-out") this.#retry(ABNORMAL);
  }

  /** Where it waits or is signed out, it tries now: call this after a login. */
  retryNow() {
    if (this.#state === "signed-out") this.#retrySoon();
    else if (this.#state === "waiting" && !this.#mustSitOut) this.#connectNow();
  }

  /** For good. What is not acknowledged yet is rejected with the code "closed". */
  close() {
    if (!this.#isEnded) this.#stop("stopped");
  }

  // Connecting

  #listen() {
    const { signal } = this.#listening;
    const wake = () => this.#wake();
    // Node has none of these.
    globalThis.addEventListener?.("online", wake, { signal });
    globalThis.addEventListener?.("offline", wake, { signal });
    globalThis.addEventListener?.("pageshow", (event) => event.persisted && wake(), { signal });
    globalThis.addEventListener?.("focus", () => this.#state === "signed-out" && wake(), { signal });
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden || wake(), { signal });
  }

  async #connect() {
    const attempt = ++this.#attempt;
    this.#triedAt = performance.now();
    if (this.#state === "waiting") this.#setState("connecting");
    const problem = await this.#prepare().catch((/** @type {unknown} */ reason) => reason || new Error("rejected"));
    if (attempt !== this.#attempt) return; // closed meanwhile
    if (problem instanceof AnotherUser) this.#stop("stopped", problem);
    else if (problem instanceof SignedOut && this.#options.token) this.#stop("signed-out", problem);
    else if (problem instanceof SignedOut) this.#signOut(problem);
    else if (problem) this.#retry(ABNORMAL);
    else if (this.#hasRefusedToken) this.#signOut(/** @type {Error} */ (this.#problem));
    else this.#open();
  }

  async #prepare() {
    if (this.#lastSeq === null && this.#options.reload) this.#lastSeq = await this.#options.reload();
    if (this.#options.token) this.#token = await this.#askToken(this.#staleToken);
    if (typeof this.#options.url === "function") this.#url = socketUrl(await this.#options.url());
  }

  /** It was refused, and asked for again in vain: the same once more would be refused as well. */
  get #hasRefusedToken() {
    return this.#state === "signed-out" && this.#token !== undefined && this.#token === this.#staleToken;
  }

  /** Refresh tokens rotate: two questions at a time would be two logins' worth, and end the login. @param {string} [stale] */
  #askToken(stale) {
    this.#askedToken ??= (async () => {
      try {
        const token = await this.#options.token?.(stale);
        if (!token) throw new SignedOut("There is no token.");
        return token;
      } finally {
        this.#askedToken = null;
      }
    })();
    return this.#askedToken;
  }

  #open() {
    const url = new URL(/** @type {URL} */ (this.#url));
    if (this.#lastSeq !== null) url.searchParams.set("last_seq", String(this.#lastSeq));
    let socket;
    try {
      // Not in the URL, which others write into their logs; and browsers cannot set headers.
      socket = new WebSocket(url, this.#token === undefined ? [] : ["jwt", this.#token]);
    } catch (problem) {
      // ws: on a page of https:, a token that is none, no WebSocket at all: the same will happen every time.
      this.#stop("stopped", /** @type {Error} */ (problem));
      return;
    }
    this.#socket = socket;
    this.#isResuming = this.#lastSeq !== null;
    this.#restartDelayMs = null;
    this.#lastError = null;
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = (event) => this.#closed(event.code);
    socket.onerror = () => {}; // `close` follows; Node's `ws` throws what nobody listens for
    this.#expectWithin(ANSWER_MS);
  }

  // Receiving

  /** @param {Frame} frame */
  #receive(frame) {
    if (frame.type === "connection_established" && !this.#isOurs(frame)) return this.#stop("stopped", new AnotherUser());
    if (frame.type === "connection_established") this.#welcome(frame);
    this.#heard();
    if (frame.type === "reconnect") this.#restartDelayMs = frame.delay_ms;
    if (frame.type === "token_expiring") this.#renewToken();
    if (frame.type === "error") this.#lastError = frame;
    if (isFailedResume(frame) && this.#options.reload) return this.resync();
    if (isFailedResume(frame)) this.#lastSeq = frame.to_seq ?? null;
    if (frame.type === "resumed" || isFailedResume(frame)) this.#isResuming = false;
    this.#settle(frame);
    // An ack only repeats the seq of its chat_message, which comes by itself, before it or behind.
    const isEvent = frame.seq !== undefined && frame.type !== "message_ack";
    if (!isEvent || this.#isNext(/** @type {number} */ (frame.seq))) this.#tell(() => this.#options.onFrame?.(frame));
  }

  /** Before anything of it is handed on, and anything is sent. @param {Frame} frame */
  #isOurs({ user_id }) {
    if (user_id === undefined) return true; // a server of before
    this.#userId ??= String(user_id);
    return this.#userId === String(user_id);
  }

  /** @param {Frame} frame */
  #welcome(frame) {
    this.#problem = undefined;
    this.#refusals = 0;
    this.#liveSince = performance.now();
    this.#lastSeq ??= frame.last_seq;
    this.#staleToken = undefined;
    this.#wasRefused = false;
    if (frame.heartbeat_interval > 0) this.#heartbeatMs = frame.heartbeat_interval * 1000;
    this.#setState("live");
    this.#sendFirst();
  }

  /** Seqs have no holes, so a jump means that something was missed. @param {number} seq */
  #isNext(seq) {
    const last = this.#lastSeq ?? seq - 1;
    if (seq > last + 1 && !this.#isResuming) {
      this.#isResuming = true;
      this.send({ type: "resume", last_seq: last });
    }
    if (seq !== last + 1) return false;
    this.#lastSeq = seq;
    return true;
  }

  async #renewToken() {
    if (!this.#options.token) return;
    try {
      this.send({ type: "token_refresh", token: await this.#askToken(this.#token) });
    } catch {
      // The server will close with 4401, and then it is asked for again.
    }
  }

  // Sending messages

  #sendFirst() {
    clearTimeout(this.#resendTimer);
    const [first] = this.#outgoing.unacknowledged;
    if (first && this.send({ type: "chat_message", ...first })) this.#expectWithin(ANSWER_MS);
  }

  /** @param {Frame} frame */
  #settle(frame) {
    const outcome = this.#outgoing.settle(frame);
    if (outcome === "settled") this.#sendFirst();
    else if (outcome !== null) this.#resendTimer = setTimeout(() => this.#sendFirst(), outcome);
  }

  // A peer that vanished without a word is only noticed by asking it: the server's own pings are out of sight here.

  #heard() {
    this.#silenceAfter(2 * this.#heartbeatMs, () => this.#probe());
  }

  #probe() {
    this.send({ type: "ping" });
    this.#expectWithin(ANSWER_MS);
  }

  /** @param {number} ms */
  #expectWithin(ms) {
    this.#silenceAfter(ms, () => this.#closed(ABNORMAL));
  }

  /** @param {number} ms @param {() => void} act */
  #silenceAfter(ms, act) {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(act, ms);
  }

  /** Something changed about the network or the page: no reason to sit out a backoff, or to trust a socket. */
  #wake() {
    const isOnline = globalThis.navigator?.onLine !== false;
    if (this.#state === "waiting" && isOnline && !this.#mustSitOut) this.#connectNow();
    else if (this.#state === "signed-out" && isOnline) this.#retrySoon();
    else if (this.#state === "waiting") this.#setState("waiting"); // what is shown may depend on navigator.onLine
    else if (this.isLive) this.#probe();
  }

  // Closing

  /** @param {number} code */
  #closed(code) {
    if (code === CLOSE.TOO_LARGE) this.#settle({ type: "error", code: "too_large", message: "Too large." });
    if (FINAL_CLOSES.has(code)) this.#stop("stopped", this.#refusal(code));
    else if (code === CLOSE.UNAUTHENTICATED && !this.#mayAskAgain()) this.#signOut(this.#refusal(code));
    else this.#retry(code);
  }

  /** At once for a new token or ticket; if that is refused as well, it is the login that is over. */
  #mayAskAgain() {
    const isFirst = !this.#wasRefused && (this.#token !== undefined || typeof this.#options.url === "function");
    this.#wasRefused = true;
    this.#staleToken = this.#token;
    return isFirst;
  }

  /** @param {number} code */
  #refusal(code) {
    return new RealtimeError(this.#lastError?.code ?? "closed", this.#lastError?.message ?? `Closed with ${code}`);
  }

  /** @param {State} state @param {Error} [problem] */
  #stop(state, problem) {
    this.#isEnded = true;
    this.#drop();
    this.#listening.abort();
    this.#problem = problem;
    this.#setState(state);
    this.#outgoing.rejectAll(problem ?? new RealtimeError("closed", "The socket was closed."));
  }

  /**
   * There is no login now. A session's cookie, or what `token` gives, may be good again without a word to this page: it
   * is tried rarely, and when somebody looks at the page. What waits to be sent goes on waiting. @param {Error} problem
   */
  #signOut(problem) {
    this.#drop();
    this.#problem = problem;
    this.#retryTimer = setTimeout(() => this.#connect(), loginDelay(this.#refusals++));
    if (this.#state !== "signed-out") this.#setState("signed-out");
  }

  /** Events of a page come in twos and threes. */
  #retrySoon() {
    clearTimeout(this.#retryTimer);
    const since = performance.now() - this.#triedAt;
    this.#retryTimer = setTimeout(() => this.#connectNow(), Math.max(0, SIGNED_OUT_LEAST_MS - since));
  }

  /** @param {number} code */
  #retry(code) {
    const lasted = performance.now() - this.#liveSince; // negative if it never was
    if (lasted > STABLE_MS) this.#failures = 0;
    const delay = this.#delayAfter(code, lasted);
    this.#mustSitOut = this.#restartDelayMs !== null || LIMIT_CLOSES.has(code);
    this.#problem = undefined;
    this.#drop();
    this.#retryTimer = setTimeout(() => this.#connect(), delay);
    this.#setState("waiting");
  }

  /** @param {number} code @param {number} lasted */
  #delayAfter(code, lasted) {
    if (this.#restartDelayMs !== null) return this.#restartDelayMs; // also if the server then drops us without a word
    if (code === CLOSE.TOO_SLOW && lasted > STABLE_MS) return 0;
    if (code === CLOSE.UNAUTHENTICATED && (lasted < 0 || lasted > STABLE_MS)) return 0;
    if (LIMIT_CLOSES.has(code)) return BACKOFF_MOST_MS * (1 + Math.random()) / 2;
    return backoff(this.#failures++);
  }

  #connectNow() {
    this.#drop();
    this.#connect();
  }

  /** Let go at once: on a dead network, `close` alone would wait for an answer. */
  #drop() {
    for (const timer of [this.#silenceTimer, this.#retryTimer, this.#resendTimer]) clearTimeout(timer);
    this.#attempt++;
    this.#liveSince = Infinity;
    if (this.#socket === null) return;
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  /** @param {State} state */
  #setState(state) {
    this.#state = state;
    this.#tell(() => this.#options.onState?.(state, this.#problem));
  }

  /** A callback that throws is reported as if it stood alone: it must not break the connection. @param {() => void} callback */
  #tell(callback) {
    try {
      callback();
    } catch (problem) {
      queueMicrotask(() => {
        throw problem;
      });
    }
  }
}

/** @typedef {Unacknowledged & {tries: number, promise: Promise<Ack>, resolve: (ack: Ack) => void, reject: (problem: Error) => void}} Letter */

/** The messages without an ack. The first is on its way, the others wait for it. No I/O. */
class Outgoing {
  /** @type {Letter[]} */ #letters = [];

  /** @returns {Unacknowledged[]} */
  get unacknowledged() {
    return this.#letters.map(({ message, client_message_id }) => ({ message, client_message_id }));
  }

  /** @param {string} message @param {string} id @returns {Promise<Ack>} */
  add(message, id) {
    const known = this.#letters.find((letter) => letter.client_message_id === id);
    if (known) return known.promise;
    const letter = /** @type {Letter} */ ({ message, client_message_id: id, tries: 0 });
    letter.promise = new Promise((resolve, reject) => Object.assign(letter, { resolve, reject }));
    this.#letters.push(letter);
    return letter.promise;
  }

  /**
   * Takes in an answer to the first: whether that settles it, so that the next may go, or after how many milliseconds
   * it is to be sent once more; null if it is no answer to that.
   * @param {Frame} frame @returns {"settled" | number | null}
   */
  settle(frame) {
    const [first] = this.#letters;
    if (first === undefined || !answers(frame, first)) return null;
    const delay = frame.type === "error" ? retryDelay(frame, ++first.tries) : null;
    if (delay !== null) return delay;
    this.#letters.shift();
    if (frame.type === "error") first.reject(new RealtimeError(frame.code, frame.message));
    else first.resolve(/** @type {Ack} */ (frame));
    return "settled";
  }

  /** @param {string} id */
  withdraw(id) {
    const place = this.#letters.findIndex((letter) => letter.client_message_id === id);
    const [letter] = place === -1 ? [] : this.#letters.splice(place, 1);
    letter?.reject(new RealtimeError("withdrawn", "The message was withdrawn."));
    return letter !== undefined;
  }

  /** @param {Error} problem */
  rejectAll(problem) {
    for (const letter of this.#letters.splice(0)) letter.reject(problem);
  }
}

/** @param {Address} address */
function socketUrl(address) {
  const url = new URL(address, globalThis.location?.href);
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}

/** @param {Frame} frame @param {Letter} letter */
function answers(frame, { client_message_id: id }) {
  if (frame.type === "message_ack") return frame.client_message_id === id;
  // A frame that is too large is not read, so its error names nothing; nothing else that is sent here is large.
  return frame.type === "error" && (frame.ref === id || (frame.code === "too_large" && !frame.ref));
}

/** @param {Frame} frame */
function isFailedResume({ type, recovered, ref }) {
  return (type === "resumed" && !recovered) || (type === "error" && ref === "resume");
}

/** Full jitter: after an outage all clients come back, and must not come at the same moments. @param {number} failures */
function backoff(failures) {
  return Math.random() * Math.min(BACKOFF_MOST_MS, BACKOFF_FIRST_MS * 2 ** failures);
}

/** 128 random bits. (`crypto.randomUUID` is missing on pages of plain http.) */
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
