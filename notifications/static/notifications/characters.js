// @ts-check
// Text as people see it: whole characters, what leaves no mark on the screen, and directions that end where their text
// ends. The rules are those of holodrive/realtime/characters.py: the same tests hold for both. Touches no page.

const segmenter = "Segmenter" in Intl ? new Intl.Segmenter() : null; // Firefox has it since 125

// JavaScript has no name for the signs that stand before numbers: format characters with ink.
const SEEN =
  /[^\p{Z}\p{Cc}\p{Cf}\p{Cs}\p{Default_Ignorable_Code_Point}\u2800\ufffc\u{1d159}\u{13441}\u{13442}\u{16fe4}]|[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u{110bd}\u{110cd}]/u;

const FSI = "\u2068";
const PDI = "\u2069";
const OPENING = /[\u2066-\u2068]/;
// Controls, and letters and digits of scripts that run to the left. (There is no class for bidi types.)
const OTHER_WAY =
  /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
const PARAGRAPHS = /([\n\r\x1c-\x1e\x85\u2029]+)/;

/** @param {string} text */
export function charactersOf(text) {
  return segmenter ? Array.from(segmenter.segment(text), ({ segment }) => segment) : Array.from(text);
}

/** The first characters of the first and last word that are seen. @param {string} name */
export function initialsOf(name) {
  const [first = "?", ...others] = name.split(/\s+/).filter((word) => !isBlank(word));
  return [first, ...others.slice(-1)].map((word) => charactersOf(word).find((one) => !isBlank(one))).join("");
}

/** Whether nothing of it is seen. @param {string} text */
export function isBlank(text) {
  return !SEEN.test(text);
}

/**
 * For the inside of a plain sentence (a label, a title, an option): between FSI and PDI if it has a direction of its
 * own, and else as it is. On the page itself `written` of dom.js isolates.
 * @param {string} text
 */
export function isolated(text) {
  if (!OTHER_WAY.test(text)) return text;
  const parts = text.split(PARAGRAPHS); // each second one is what separates them
  return parts.map((part, place) => (place % 2 || !part ? part : FSI + closed(part) + PDI)).join("");
}

/** @param {string[]} names */
export function listed(names) {
  return names.map(isolated).join(", ");
}

/** Without the isolates that it leaves open, and the ends of such as it has not opened. @param {string} paragraph */
function closed(paragraph) {
  const kept = [...paragraph];
  /** @type {number[]} */ const leftOpen = [];
  kept.forEach((sign, place) => {
    if (OPENING.test(sign)) leftOpen.push(place);
    else if (sign === PDI && leftOpen.pop() === undefined) kept[place] = "";
  });
  for (const place of leftOpen) kept[place] = "";
  return kept.join("");
}
