// @ts-check
// The REST API (docs/reference/rest.md) and the addresses of the sockets, with the login of the page's session.

import { RealtimeError, SignedOut } from "../../realtime/holodrive-realtime.js";

const ANSWER_MS = 15_000;
const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** What the server answered to a request that it did not obey; `body` has more than `code` and `message` for some. */
export class Refused extends RealtimeError {
  /** @param {{code?: string, message?: string, [field: string]: any}} body @param {number} status */
  constructor(body, status) {
    super(body.code ?? "internal", body.message ?? `HTTP ${status}`);
    this.status = status;
    this.body = body;
  }
}

/** @typedef {{api: string, websocket_url: string, csrf_token: string}} Settings */

export class Api {
  #settings;

  /** @param {Settings} settings */
  constructor(settings) {
    this.#settings = settings;
  }

  /** @param {string} path @param {Record<string, string | number | null | undefined>} [query] */
  get(path, query = {}) {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
    const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
    return this.#ask("GET", given.length ? `${path}?${search}` : path);
  }

  /** @param {string} path @param {object} [body] */
  post(path, body = {}) {
    return this.#ask("POST", path, body);
  }

  /** @param {string} path @param {object} body */
  patch(path, body) {
    return this.#ask("PATCH", path, body);
  }

  /** @param {string} path */
  delete(path) {
    return this.#ask("DELETE", path);
  }

  /** Throws SignedOut, Refused, or what `fetch` throws. @param {string} method @param {string} path @param {object} [body] */
  async #ask(method, path, body) {
    const response = await fetch(this.#settings.api + path, {
      method,
      cache: "no-store",
      headers: { "Content-Type": "application/json", "X-CSRFToken": this.#settings.csrf_token },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (response.status === 204) return null;
    const answer = await response.json().catch(() => ({}));
    if (response.status === 401 || answer.code === "unauthenticated") throw new SignedOut();
    if (!response.ok) throw new Refused(answer, response.status);
    return answer;
  }

  /**
   * For `connect`. Another host gets no cookie of this one: there each connection needs a ticket.
   * @param {string} path "/ws/support/"
   * @returns {string | (() => Promise<string>)}
   */
  socket(path) {
    const configured = new URL(`${location.protocol}//${this.#settings.websocket_url || location.host}`);
    const isSameMachine =
      LOOPBACK.has(configured.hostname) && LOOPBACK.has(location.hostname) && configured.port === location.port;
    if (isSameMachine || configured.host === location.host) return path;
    return async () => {
      const { ticket } = await this.post("realtime/ticket/");
      return `${configured.origin}${path}?${new URLSearchParams({ ticket })}`;
    };
  }
}
