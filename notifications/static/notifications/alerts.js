// @ts-check
// Sound and desktop notifications: each only after a click asked for it, and each from one tab of a browser, which Web
// Locks choose. A page of plain http has no locks (and browsers show no desktop notifications for it), so it has
// neither: each tab ringing for itself would be worse.

import { isolated } from "./characters.js";
import { fill, gettext, ngettext } from "./texts.js";
import { messageText } from "./wording.js";

/**
 * @typedef {import("./bell.js").Item} Item
 * @typedef {"sound" | "desktop"} Kind
 * @typedef {{isUnread: (id: number) => boolean, onOpen: (notification: Item | null) => void}} Options
 */

const KINDS = /** @type {const} */ (["sound", "desktop"]);
const GATHER_MS = 500; // what comes together is told together; what is read at once (an open chat) is not told at all
const NEWS_MS = 60_000;
const NAMED_MOST = 3;

// Which tab

/** What one tab does for all of a browser: the first that asks, until it is closed. */
class Duty {
  isMine = false;
  #name;
  #isAsked = false;

  /** @param {string} name */
  constructor(name) {
    this.#name = name;
  }

  ask() {
    if (this.#isAsked) return;
    this.#isAsked = true;
    navigator.locks.request(this.#name, () => {
      this.isMine = true;
      return new Promise(() => {});
    });
  }
}

/** Whether somebody looks at any tab. Each that is looked at holds a shared lock, which ends with it in any case. */
class Gaze {
  #name;
  /** @type {(() => void) | null} */ #lookAway = null;

  /** @param {string} name */
  constructor(name) {
    this.#name = name;
    for (const change of ["focus", "blur"]) addEventListener(change, () => this.#follow());
    document.addEventListener("visibilitychange", () => this.#follow());
    this.#follow();
  }

  #follow() {
    const isSeen = !document.hidden && document.hasFocus();
    if (!isSeen) this.#lookAway?.();
    else if (this.#lookAway === null) this.#hold();
  }

  #hold() {
    const over = new Promise((resolve) => {
      this.#lookAway = () => resolve((this.#lookAway = null));
    });
    navigator.locks.request(this.#name, { mode: "shared" }, () => over);
  }

  /** @returns {Promise<boolean>} */
  async isElsewhere() {
    return navigator.locks.request(this.#name, { ifAvailable: true }, (lock) => lock !== null);
  }
}

// Sound

const TONES_HZ = [880, 1175]; // A5, D6
const TONE_S = 0.16;
const LOUDNESS = 0.12;

/** Two short tones. It sleeps between them: an audio device in use keeps some computers awake. */
class Chime {
  #context = new AudioContext();
  #playing = 0;

  /** @param {() => void} onAllowed browsers let a tab sound only after a click or a key in it */
  constructor(onAllowed) {
    const waiting = new AbortController();
    const options = { signal: waiting.signal, capture: true };
    for (const gesture of ["click", "keydown"]) addEventListener(gesture, () => this.#context.resume(), options);
    this.#context.resume().then(() => {
      waiting.abort();
      this.#rest();
      onAllowed();
    });
  }

  #rest() {
    if (this.#playing === 0) this.#context.suspend();
  }

  async play() {
    this.#playing++;
    await this.#context.resume();
    const start = this.#context.currentTime;
    const tones = TONES_HZ.map((frequency, place) => this.#tone(frequency, start + place * TONE_S));
    tones.at(-1)?.addEventListener("ended", () => {
      this.#playing--;
      this.#rest();
    });
  }

  /** @param {number} frequency @param {number} start on the context's clock */
  #tone(frequency, start) {
    const tone = new OscillatorNode(this.#context, { frequency });
    const volume = new GainNode(this.#context, { gain: 0 });
    volume.gain.setValueAtTime(0, start).linearRampToValueAtTime(LOUDNESS, start + 0.01); // a jump would click
    volume.gain.exponentialRampToValueAtTime(0.001, start + TONE_S);
    tone.connect(volume).connect(this.#context.destination);
    tone.start(start);
    tone.stop(start + TONE_S);
    return tone;
  }
}

// Desktop

/** The system's notifications that stand now. */
class Desktop {
  /** @type {{popup: Notification, ids: number[]}[]} */ #shown = [];

  /** Throws where only a service worker may (Android). @param {Item[]} notifications @param {Options["onOpen"]} onOpen */
  show(notifications, onOpen) {
    const [only, ...more] = notifications;
    const ids = notifications.map(({ id }) => id);
    const tag = `holodrive-${ids.at(-1)}`; // two with one tag are one
    // Silent: the sound has a switch of its own.
    const popup = new Notification(titleText(notifications), { body: bodyText(notifications), tag, silent: true });
    popup.onclick = () => {
      popup.close();
      onOpen(more.length ? null : only);
    };
    popup.onclose = () => (this.#shown = this.#shown.filter((one) => one.popup !== popup));
    this.#shown.push({ popup, ids });
  }

  /** @param {Options["isUnread"]} isUnread */
  closeRead(isUnread) {
    for (const { popup, ids } of this.#shown) if (!ids.some(isUnread)) popup.close();
  }
}

/** @param {Item[]} notifications */
function titleText(notifications) {
  const count = notifications.length;
  if (count === 1) return notifications[0].title;
  return fill(ngettext("%(count)s new notification", "%(count)s new notifications", count), { count });
}

/** @param {Item[]} notifications */
function bodyText(notifications) {
  if (notifications.length === 1) return messageText(notifications[0]);
  return notifications.slice(-NAMED_MOST).map(({ title }) => isolated(title)).join("\n");
}

/** Why it cannot be turned on, in words. @param {Kind} kind */
function obstacle(kind) {
  if (!navigator.locks) return gettext("Sound and desktop notifications need a page on https.");
  if (kind === "sound") return null;
  if (!("Notification" in window)) return gettext("This browser shows no desktop notifications.");
  if (Notification.permission === "granted") return null;
  if (Notification.permission === "default") return gettext("The browser was not allowed to show notifications.");
  return gettext("The browser blocks notifications of this site. Its settings for this site can allow them.");
}

// Both, and their switches

/** Tells of new notifications as the switches in the panel say; they are remembered for all tabs of this user. */
export class Alerts {
  #name;
  #options;
  #hint;
  /** @type {Map<Kind, HTMLElement>} */ #switches;
  /** @type {Record<Kind, boolean>} */ #isOn = { sound: false, desktop: false };
  /** @type {Record<Kind, Duty>} */ #duties;
  /** @type {Gaze | undefined} */ #gaze;
  /** @type {Chime | undefined} */ #chime;
  #desktop = new Desktop();
  /** @type {Item[]} */ #gathered = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /** @param {string} name the same in all tabs of one user @param {HTMLElement} panel @param {Options} options */
  constructor(name, panel, options) {
    this.#name = name;
    this.#options = options;
    this.#hint = /** @type {HTMLElement} */ (panel.querySelector(".bell-hint"));
    this.#switches = new Map(KINDS.map((kind) => [kind, /** @type {HTMLElement} */ (panel.querySelector(`.bell-${kind}`))]));
    this.#duties = { sound: new Duty(`${name}-sound`), desktop: new Duty(`${name}-desktop`) };
    if (navigator.locks) this.#gaze = new Gaze(`${name}-gaze`);
    for (const [kind, button] of this.#switches) button.addEventListener("click", () => this.#toggle(kind));
    addEventListener("storage", ({ key }) => key?.startsWith(name) && this.#recall());
    panel.addEventListener("toggle", () => panel.matches(":popover-open") || this.#show(""));
    this.#recall();
  }

  /** @param {Item} notification @param {boolean} isLive or else caught up, and no news if it is old */
  tell(notification, isLive) {
    const age = Date.now() - Date.parse(notification.created_at);
    if (!isLive && age > NEWS_MS) return;
    this.#gathered.push(notification);
    this.#timer ??= setTimeout(() => this.#tellGathered(), GATHER_MS);
  }

  async #tellGathered() {
    this.#timer = undefined;
    const unread = this.#gathered.splice(0).filter(({ id }) => this.#options.isUnread(id));
    if (unread.length === 0) return;
    if (this.#speaks("sound")) this.#chime?.play();
    if (this.#speaks("desktop") && (await this.#gaze?.isElsewhere())) this.#showOnDesktop(unread);
  }

  /** @param {Kind} kind */
  #speaks(kind) {
    return this.#isOn[kind] && this.#duties[kind].isMine && obstacle(kind) === null;
  }

  /** @param {Item[]} notifications */
  #showOnDesktop(notifications) {
    try {
      this.#desktop.show(notifications, this.#options.onOpen);
    } catch {
      this.#turn("desktop", false);
      this.#show(gettext("This browser shows no desktop notifications."));
    }
  }

  /** Takes back what was read in the meantime, here or elsewhere. */
  takeBack() {
    this.#desktop.closeRead(this.#options.isUnread);
  }

  // The switches

  /** @param {Kind} kind */
  async #toggle(kind) {
    const turnsOn = this.#switches.get(kind)?.ariaChecked !== "true";
    const mayAsk = kind === "desktop" && "Notification" in window && Notification.permission === "default";
    if (turnsOn && mayAsk) await Notification.requestPermission();
    const problem = turnsOn ? obstacle(kind) : null;
    if (problem === null) this.#turn(kind, turnsOn);
    this.#show(problem ?? "");
    if (kind === "sound" && this.#isOn.sound) this.#chime?.play(); // as it will be
  }

  /** @param {Kind} kind @param {boolean} isOn */
  #turn(kind, isOn) {
    this.#isOn[kind] = isOn;
    try {
      localStorage.setItem(`${this.#name}-${kind}`, isOn ? "on" : "off");
    } catch {
      // Full, or not allowed: then for this page alone.
    }
    this.#prepare();
  }

  #recall() {
    try {
      for (const kind of KINDS) this.#isOn[kind] = localStorage.getItem(`${this.#name}-${kind}`) === "on";
    } catch {
      // Not allowed.
    }
    this.#prepare();
    this.#show("");
  }

  #prepare() {
    if (!navigator.locks) return;
    if (this.#isOn.sound) this.#chime ??= new Chime(() => this.#duties.sound.ask());
    if (this.#isOn.desktop) this.#duties.desktop.ask();
  }

  /** @param {string} hint */
  #show(hint) {
    for (const [kind, button] of this.#switches) {
      const problem = this.#isOn[kind] ? obstacle(kind) : null; // it was allowed once, and is not any more
      button.setAttribute("aria-checked", String(this.#isOn[kind] && problem === null));
      hint ||= problem ?? "";
    }
    this.#hint.textContent = hint;
  }
}
