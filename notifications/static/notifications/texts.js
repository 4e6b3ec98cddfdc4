// @ts-check
// Translated texts for scripts: gettext as Django's JavaScriptCatalog brings it, or English where that did not load.
// Extracted by `make messages`; call these by their bare names, or xgettext does not see the text.

import { isolated } from "./characters.js";

/**
 * @typedef {object} Catalog
 * @property {(text: string) => string} gettext
 * @property {(one: string, many: string, count: number) => string} ngettext
 * @property {(context: string, text: string) => string} pgettext
 */

const catalog = /** @type {Window & {django?: Partial<Catalog>}} */ (window).django ?? {};

/** @type {Catalog["gettext"]} */
export const gettext = (text) => catalog.gettext?.(text) ?? text;

/** @type {Catalog["ngettext"]} */
export const ngettext = (one, many, count) => catalog.ngettext?.(one, many, count) ?? (count === 1 ? one : many);

/** @type {Catalog["pgettext"]} */
export const pgettext = (context, text) => catalog.pgettext?.(context, text) ?? text;

/** "%(name)s" becomes `values.name`, which turns no other word. @param {string} text @param {Record<string, string | number>} values */
export function fill(text, values) {
  return text.replace(/%\((\w+)\)s/g, (_, name) => isolated(String(values[name])));
}
