// @ts-check
// Requests to REST by the scripts of the admin: with the page's session, but only while that is the login of the page's
// own user, and again where that may help (`retryDelay`).

import { AnotherUser, RealtimeError, SignedOut, loginDelay, retryDelay } from "../realtime/holodrive-realtime.js";
import { onLogin } from "./session.js";

const ANSWER_MS = 15_000;

/** What the server answered to a request that it did not obey; `body` has more than `code` and `message` for some. */
export class Refused extends RealtimeError {
  /** @param {{code?: string, message?: string, [field: string]: any}} body @param {number} status @param {string | null} [retryAfter] */
  constructor(body, status, retryAfter = null) {
    super(body.code ?? "internal", body.message ?? `HTTP ${status}`);
    this.status = status;
    this.body = body;
    this.retryAfter = retryAfter;
    this.retryable = typeof body.retryable === "boolean" ? body.retryable : undefined;
  }
}

/**
 * @typedef {object} Login
 * @property {string | number} userId of whom the page is
 * @property {string} csrfToken of the page, as it was loaded
 * @property {string} csrfCookie the name of the cookie that has the one of now; empty where scripts cannot read it
 */

/**
 * @typedef {object} How
 * @property {boolean} [isIdempotent]
 * @property {number} [most] tries in all
 * @property {boolean} [isPatient] what got no answer at all, or found no login, is no try: it waits for that, however long
 */

export class Requests {
  #login;
  #csrfToken;

  /** @param {Login} login */
  constructor(login) {
    this.#login = login;
    this.#csrfToken = login.csrfToken;
  }

  /**
   * One answer, or what the last try has thrown.
   * @param {string} method @param {string} url @param {object} [body] @param {How} [how] @returns {Promise<any>}
   */
  async ask(method, url, body, { isPatient = false, ...how } = {}) {
    let [answered, unanswered] = [0, 0];
    for (;;) {
      try {
        return await this.#once(method, url, body);
      } catch (problem) {
        const waits = isPatient && (problem instanceof SignedOut || !(problem instanceof RealtimeError));
        if (isGone(problem) && method === "DELETE" && answered + unanswered > 0) return null; // by a try before
        const delay = waits ? patientDelay(problem, unanswered++) : retryDelay(problem, ++answered, how);
        if (delay === null) throw problem;
        await pause(delay, waits);
      }
    }
  }

  /** @param {string} method @param {string} url @param {object} [body] */
  async #once(method, url, body) {
    try {
      return await this.#send(method, url, body);
    } catch (problem) {
      if (!isCsrf(problem) || this.#csrfInCookie || !(await this.#readPageAgain())) throw problem;
      return this.#send(method, url, body);
    }
  }

  /** Throws SignedOut, AnotherUser, Refused, or what `fetch` throws. @param {string} method @param {string} url @param {object} [body] */
  async #send(method, url, body) {
    /** @type {Record<string, string>} */ const headers = { "X-HoloDrive-User": String(this.#login.userId) };
    if (method !== "GET") headers["X-CSRFToken"] = this.#csrfInCookie ?? this.#csrfToken;
    if (body) headers["Content-Type"] = "application/json";
    const signal = AbortSignal.timeout(ANSWER_MS);
    const response = await fetch(url, { method, cache: "no-store", headers, body: body && JSON.stringify(body), signal });
    if (response.status === 204) return null;
    const answer = await response.json().catch((problem) => (response.ok ? Promise.reject(problem) : {}));
    if (response.status === 401) throw new SignedOut();
    if (answer.code === "another_user") throw new AnotherUser();
    if (!response.ok) throw new Refused(answer, response.status, response.headers.get("Retry-After"));
    return answer;
  }

  // Django makes another CSRF token at each login: the page's own may be that of a login before.

  /** @returns {string | undefined} */
  get #csrfInCookie() {
    const { csrfCookie } = this.#login;
    const found = document.cookie.split("; ").find((cookie) => csrfCookie && cookie.startsWith(`${csrfCookie}=`));
    return found && decodeURIComponent(found.slice(csrfCookie.length + 1));
  }

  /** @returns {Promise<boolean>} whether it had another token */
  async #readPageAgain() {
    const response = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const token = page.querySelector("[data-csrf-token]")?.getAttribute("data-csrf-token");
    if (!token) return false;
    this.#csrfToken = token;
    return true;
  }
}

/** @param {unknown} problem @param {number} before how often there was none */
function patientDelay(problem, before) {
  return problem instanceof SignedOut ? loginDelay(before) : retryDelay(problem, before + 1, { most: Infinity });
}

/** @param {number} ms @param {boolean} isPatient ends when the network is back, or there may be a login */
async function pause(ms, isPatient) {
  const over = new AbortController();
  await new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
    setTimeout(resolve, ms);
    if (!isPatient) return;
    addEventListener("online", resolve, { signal: over.signal });
    addEventListener("focus", resolve, { signal: over.signal });
    onLogin(resolve, { signal: over.signal });
  });
  over.abort();
}

/** @param {unknown} problem */
function isGone(problem) {
  return problem instanceof Refused && problem.status === 404;
}

/** @param {unknown} problem */
function isCsrf(problem) {
  return problem instanceof Refused && problem.status === 403 && problem.message.startsWith("CSRF");
}
