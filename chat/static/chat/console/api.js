// @ts-check
// The REST API (docs/reference/rest.md) and the addresses of the sockets, with the login of the page's session.

import { Requests } from "../../notifications/requests.js";

const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** A person waits for these, and may press once more. */
const SHORTLY = { most: 4 };
/** What is asked for again by itself, or by a timer. */
const ONCE = { most: 1 };

/** @typedef {import("../../notifications/requests.js").How} How */
/** @typedef {{api: string, websocket_url: string, login: import("../../notifications/requests.js").Login}} Settings */

export class Api {
  #settings;
  #requests;

  /** @param {Settings} settings */
  constructor(settings) {
    this.#settings = settings;
    this.#requests = new Requests(settings.login);
  }

  /** As the methods below, it throws what `Requests` throws. @param {string} path @param {Record<string, string | number | null | undefined>} [query] @param {How} [how] */
  get(path, query = {}, how = ONCE) {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
    const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
    return this.#ask("GET", given.length ? `${path}?${search}` : path, undefined, how);
  }

  /** @param {string} path @param {object} [body] @param {How} [how] */
  post(path, body = {}, how = SHORTLY) {
    return this.#ask("POST", path, body, how);
  }

  /** @param {string} path @param {object} body */
  patch(path, body) {
    return this.#ask("PATCH", path, body, SHORTLY);
  }

  /** @param {string} path */
  delete(path) {
    return this.#ask("DELETE", path, undefined, SHORTLY);
  }

  /** @param {string} method @param {string} path @param {object | undefined} body @param {How} how */
  #ask(method, path, body, how) {
    return this.#requests.ask(method, this.#settings.api + path, body, how);
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
      const { ticket } = await this.post("realtime/ticket/", {}, ONCE);
      return `${configured.origin}${path}?${new URLSearchParams({ ticket })}`;
    };
  }
}
