// @ts-check
// Sends the next part of an announcement as soon as the page has said how far it is. Without it, a person presses "Go on".

const form = document.getElementById("announcement-goes-on");
if (form instanceof HTMLFormElement) form.requestSubmit();
