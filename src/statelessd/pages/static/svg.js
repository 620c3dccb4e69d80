// @ts-check
/** SVG elements. */

import { set, write } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";

/** @param {Element} parent @param {string} name @param {string} [className] */
export function element(parent, name, className) {
  const made = document.createElementNS(SVG, name);
  if (className) made.setAttribute("class", className);
  return parent.appendChild(made);
}

/**
 * So many children of a name, made or removed as needed.
 * @param {Element} parent
 * @param {string} name
 * @param {number} wanted
 */
export function pool(parent, name, wanted) {
  const found = Array.from(parent.children).filter(({ tagName }) => tagName === name);
  while (found.length > wanted) found.pop()?.remove();
  while (found.length < wanted) found.push(element(parent, name));
  return found;
}

/**
 * @param {Element} text
 * @param {number} x
 * @param {number} y
 * @param {string} anchor
 * @param {string} words
 */
export function label(text, x, y, anchor, words) {
  set(text, "x", x.toFixed(1));
  set(text, "y", y.toFixed(1));
  set(text, "text-anchor", anchor);
  write(text, words);
}
