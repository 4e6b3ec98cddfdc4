// @ts-check
// The session of this browser, which all tabs share: a page that was loaded with one tells the others, and those that
// were signed out try again.

import { gettext } from "./texts.js";

const channel = "BroadcastChannel" in window ? new BroadcastChannel("holodrive-session") : null;

/** This page came with a login. */
export function announceLogin() {
  channel?.postMessage("login");
}

/** @param {() => void} act when another tab has a login, which may be a new one @param {AddEventListenerOptions} [options] */
export function onLogin(act, options) {
  channel?.addEventListener("message", act, options);
}

/** To a new tab: this one keeps what is written in it, and goes on by itself after the login. @param {string} url */
export function loginLink(url) {
  const link = document.createElement("a");
  link.href = `${url}?${new URLSearchParams({ next: location.pathname + location.search })}`;
  link.target = "_blank";
  link.textContent = gettext("Log in");
  return link;
}
