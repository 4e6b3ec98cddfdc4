// @ts-check
// Making and finding elements. Text is always set as text: nothing anybody wrote becomes markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {string} className @param {...(Node | string)} children
 */
export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** @param {string} name of a symbol of console.html */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("console-icon");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#console-icon-${name}`);
  svg.append(use);
  return svg;
}

/** A button that shows an icon only. @param {string} name @param {string} label @param {string} className */
export function iconButton(name, label, className = "console-icon-button") {
  const button = element("button", className, icon(name));
  button.type = "button";
  button.setAttribute("aria-label", label);
  button.title = label;
  return button;
}

/** People write in other directions than the admin's. @param {string} className @param {string} text */
export function written(className, text) {
  const made = element("span", className, text);
  made.dir = "auto";
  return made;
}

/**
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {string} selector @param {ParentNode} [within] @returns {Kind}
 */
export function find(selector, within = document) {
  const found = within.querySelector(selector);
  if (!found) throw new Error(`${selector} is missing in console.html`);
  return /** @type {Kind} */ (found);
}

/**
 * Makes `parent` hold exactly these, in this order. Those in their place are not touched: focus and selection stay.
 * @param {HTMLElement} parent @param {Node[]} nodes
 */
export function arrange(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.childNodes]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, place) => {
    if (parent.childNodes[place] !== node) parent.insertBefore(node, parent.childNodes[place] ?? null);
  });
}

/** A round picture of the letters of a name; the same person has the same colour everywhere. @param {string} letters @param {number} id */
export function avatar(letters, id) {
  const made = element("span", `console-avatar console-avatar-${id % 6}`, letters);
  made.setAttribute("aria-hidden", "true");
  return made;
}

/** Once for all calls before the next frame of the screen. @param {() => void} draw */
export function onceAFrame(draw) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    // A tab in the background paints nothing, and is drawn all the same.
    const next = document.hidden ? (/** @type {() => void} */ run) => setTimeout(run, 50) : requestAnimationFrame;
    next(() => {
      isDue = false;
      draw();
    });
  };
}
