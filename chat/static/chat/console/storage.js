// @ts-check
// What outlives a page: a draft per conversation (in this browser), and messages without an ack (in this tab, so that
// no other tab takes them for its own). A browser that stores nothing loses only that.

import { isBlank } from "../../notifications/characters.js";

/** @typedef {import("./state.js").Letter} Letter */

/** @param {Storage} storage @param {string} key @returns {any} */
function read(storage, key) {
  try {
    return JSON.parse(storage.getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/** @param {Storage} storage @param {string} key @param {any} value null or empty removes it */
function write(storage, key, value) {
  try {
    if (value === null || value.length === 0) storage.removeItem(key);
    else storage.setItem(key, JSON.stringify(value));
  } catch {
    // Full, or not allowed.
  }
}

/** @param {number} me @param {number} conversation */
export function drafts(me, conversation) {
  const key = `holodrive-draft-${me}-${conversation}`;
  return {
    /** @returns {{text: string, isNote: boolean} | null} */
    get: () => read(localStorage, key),
    /** @param {string} text @param {boolean} isNote */
    set: (text, isNote) => write(localStorage, key, isBlank(text) ? null : { text, isNote }),
  };
}

/** @param {number} me @param {number} conversation */
export function outbox(me, conversation) {
  const key = `holodrive-outbox-${me}-${conversation}`;
  return {
    /** @returns {Letter[]} */
    get: () => read(sessionStorage, key) ?? [],
    /** @param {Letter[]} letters */
    set: (letters) => write(sessionStorage, key, letters),
  };
}
