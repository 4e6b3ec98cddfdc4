// @ts-check
// Push to this browser, for when no page of the admin is open: a switch beside those of alerts.js. It is there only
// where the server pushes to browsers and this browser can be pushed to. It takes the place of desktop notifications,
// which would tell of everything a second time.

import { RealtimeError } from "../realtime/holodrive-realtime.js";
import { problemText } from "./problems.js";
import { gettext } from "./texts.js";

/**
 * @typedef {{pushUrl?: string, pushWorkerUrl?: string, devicesUrl?: string, adminUrl?: string}} Addresses
 * @typedef {{id: number, token: string}} Device
 */

/** @param {string} text in base64url */
function bytesOf(text) {
  const raw = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(raw, (character) => character.charCodeAt(0));
}

export class PushSwitch {
  /** @type {Addresses} */ #addresses;
  #requests;
  #switch;
  #desktop;
  #hint;
  #key = "";
  #isBusy = false;

  /**
   * @param {HTMLElement} panel @param {Addresses} addresses @param {import("./requests.js").Requests} requests
   * @param {(id: number) => void} onOpen
   */
  constructor(panel, addresses, requests, onOpen) {
    const find = (/** @type {string} */ selector) => /** @type {HTMLElement} */ (panel.querySelector(selector));
    this.#addresses = addresses;
    this.#requests = requests;
    this.#switch = find(".bell-push");
    this.#desktop = find(".bell-desktop");
    this.#hint = find(".bell-hint");
    if (!addresses.pushUrl || !("serviceWorker" in navigator) || !("PushManager" in window)) return;
    navigator.serviceWorker.addEventListener("message", ({ data }) => {
      if (data?.kind === "open-notification") onOpen(data.id);
    });
    this.#switch.addEventListener("click", () => this.#toggle());
    panel.addEventListener("toggle", () => panel.matches(":popover-open") && this.#look());
  }

  /** What the server offers, and whether this browser is registered; asked for once the panel opens. */
  async #look() {
    if (this.#isBusy) return;
    try {
      const { pushUrl = "" } = this.#addresses;
      this.#key ||= (await this.#requests.ask("GET", pushUrl)).web_public_key ?? "";
      if (!this.#key) return;
      this.#show((await this.#device()) !== undefined);
      this.#switch.hidden = false;
    } catch {
      // The server is away: the panel says so.
    }
  }

  async #toggle() {
    if (this.#isBusy) return;
    this.#isBusy = true;
    const turnsOn = this.#switch.ariaChecked !== "true";
    this.#hint.textContent = "";
    try {
      if (turnsOn) await this.#turnOn();
      else await this.#turnOff();
    } catch (problem) {
      const isServers = problem instanceof RealtimeError || problem instanceof TypeError; // which `fetch` throws
      this.#hint.textContent = isServers ? problemText(problem) : gettext("The browser could not subscribe to pushes.");
    }
    this.#isBusy = false;
  }

  async #turnOn() {
    if ((await Notification.requestPermission()) !== "granted") {
      this.#hint.textContent = gettext("The browser was not allowed to show notifications.");
      return;
    }
    const { pushWorkerUrl = "", devicesUrl = "", adminUrl } = this.#addresses;
    await navigator.serviceWorker.register(pushWorkerUrl, { scope: adminUrl });
    const { pushManager } = await navigator.serviceWorker.ready;
    const { endpoint, keys } = (await this.#subscribe(pushManager)).toJSON();
    await this.#requests.ask("POST", devicesUrl, { platform: "web", token: endpoint, keys, name: location.host });
    this.#show(true);
    if (this.#desktop.ariaChecked === "true") this.#desktop.click();
  }

  /** @param {PushManager} pushManager @returns {Promise<PushSubscription>} */
  async #subscribe(pushManager) {
    const options = { userVisibleOnly: true, applicationServerKey: bytesOf(this.#key) };
    try {
      return await pushManager.subscribe(options);
    } catch (problem) {
      const old = await pushManager.getSubscription(); // with a key that the server had before
      if (old === null) throw problem;
      await old.unsubscribe();
      return pushManager.subscribe(options);
    }
  }

  async #turnOff() {
    const device = await this.#device();
    await (await this.#subscription())?.unsubscribe();
    if (device) await this.#requests.ask("DELETE", `${this.#addresses.devicesUrl}${device.id}/`);
    this.#show(false);
  }

  async #subscription() {
    const registration = await navigator.serviceWorker.getRegistration(this.#addresses.adminUrl);
    return registration?.pushManager.getSubscription();
  }

  /** This browser, if it is this user's. @returns {Promise<Device | undefined>} */
  async #device() {
    const subscription = await this.#subscription();
    if (!subscription) return undefined;
    const { results } = await this.#requests.ask("GET", this.#addresses.devicesUrl ?? "");
    return results.find((/** @type {Device} */ { token }) => token === subscription.endpoint);
  }

  /** @param {boolean} isOn */
  #show(isOn) {
    this.#switch.setAttribute("aria-checked", String(isOn));
  }
}
