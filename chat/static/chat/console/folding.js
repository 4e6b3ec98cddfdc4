// @ts-check
// One spelling of what is searched here and what is searched for: the twin of
// holodrive/realtime/folding.py, as far as the console needs it.

const APOSTROPHES = /['`\u00b4\u02b9\u02bb-\u02bf\u02c8\u02ca\u02cb\u2018-\u201b\u2032\u2035\uff07\uff40]/g;

/** @param {string} text */
export function fold(text) {
  const plain = text.replace(APOSTROPHES, "").normalize("NFKD").toLowerCase().normalize("NFKD");
  return plain.replace(/[\p{Mn}\p{Me}\p{Cf}]/gu, "").replaceAll("ı", "i").normalize("NFC");
}
