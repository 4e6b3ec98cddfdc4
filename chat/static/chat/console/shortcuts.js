// @ts-check
// The keys of the whole page. Those of one part are in its module.

import { find } from "./dom.js";

const WRITING = "input, textarea, select, [contenteditable]";

/**
 * @param {Record<string, (event: KeyboardEvent) => void>} keys by `event.key`, in lower case. Not while somebody writes,
 *   nor together with Ctrl, Alt or Meta, which are the browser's.
 */
export function listenForKeys(keys) {
  const help = /** @type {HTMLDialogElement} */ (find("#console-help"));
  const all = { ...keys, "?": () => help.showModal() };
  find(".console-help-button").addEventListener("click", () => help.showModal());
  document.addEventListener("keydown", (event) => {
    const isWriting = event.target instanceof Element && event.target.matches(WRITING);
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open], :popover-open")) return;
    if (isWriting && event.key !== "Escape") return;
    const act = /** @type {Record<string, (event: KeyboardEvent) => void>} */ (all)[event.key.toLowerCase()];
    if (!act) return;
    if (event.key !== "Escape") event.preventDefault();
    act(event);
  });
}
