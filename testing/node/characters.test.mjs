// The characters of the admin's scripts, by the table that holds for the server as well; without a page.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { charactersOf, initialsOf, isBlank, isolated, listed } from "../../notifications/static/notifications/characters.js";
import { messageText } from "../../notifications/static/notifications/wording.js";

globalThis.window = globalThis; // texts.js looks for a catalog there
const { fill } = await import("../../notifications/static/notifications/texts.js");
const table = JSON.parse(readFileSync(new URL("../characters.json", import.meta.url), "utf8"));
const CHARACTERS = Object.entries(table.characters);

for (const [name, character] of CHARACTERS) {
  test(`${name} is one character`, () => assert.deepEqual(charactersOf(`x${character}y`), ["x", character, "y"]));
}

test("nothing is seen of what is blank", () => {
  for (const [name, text] of Object.entries(table.blank)) assert.ok(isBlank(text), name);
  for (const [name, text] of Object.entries(table.seen)) assert.ok(!isBlank(text), name);
});

test("a direction ends where its text ends", () => {
  for (const [text, alone] of table.isolated) assert.equal(isolated(text), alone);
  assert.equal(listed(["Ann", "\u202eBen"]), "Ann, \u2068\u202eBen\u2069");
  assert.equal(fill("%(name)s (you), %(count)s", { name: "\u202eBen", count: 7 }), "\u2068\u202eBen\u2069 (you), 7");
});

test("initials are whole characters that are seen", () => {
  for (const [name, character] of CHARACTERS.filter(([, one]) => !isBlank(one))) {
    assert.equal(initialsOf(`${character}x ${character}y`), character + character, name);
  }
  assert.equal(initialsOf("\u202eann \u200b \u2067mary ben\u2069"), "ab");
  assert.equal(initialsOf(" \u3164 "), "?");
});

test("a message of fewer than fifty characters is shown whole", () => {
  const shown = (said) => messageText({ notification_type: "chat_message", message: `New message in conversation: ${said}...` });
  assert.equal(shown("👨‍👩‍👧‍👦".repeat(49)), "👨‍👩‍👧‍👦".repeat(49));
  assert.equal(shown("👨‍👩‍👧‍👦".repeat(50)), `${"👨‍👩‍👧‍👦".repeat(50)}...`);
  assert.equal(shown("\u2068\u202eevil\u2069"), "\u202eevil");
  assert.equal(shown("\u2068one\u2069\n\u2068\u202etwo\u2069"), "one\n\u202etwo");
});
