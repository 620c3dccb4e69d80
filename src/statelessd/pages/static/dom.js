// @ts-check
/** Change the document only where something is different. */

/** Where the gateway is, without a slash behind: a proxy may have it below a path of its own. */
export const GATEWAY = new URL("..", import.meta.url).href.slice(0, -1);

/** @param {ParentNode} parent @param {string} selector @returns {HTMLElement} */
export function find(parent, selector) {
  const found = parent.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`the page has no ${selector}`);
  return found;
}

/** @param {Element} target @param {string} name @param {string} value */
export function set(target, name, value) {
  if (target.getAttribute(name) !== value) target.setAttribute(name, value);
}

/** @param {Node} node @param {string} text */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** @param {Element} parent @param {string} name @param {string} className */
export function child(parent, name, className) {
  const made = document.createElement(name);
  made.className = className;
  return parent.appendChild(made);
}

/**
 * Copies a text that is to be seen when a button is pressed, and says so on it for a moment.
 * @param {HTMLButtonElement} button
 * @param {HTMLElement} source
 */
export function copies(button, source) {
  const name = button.textContent ?? "";
  button.addEventListener("click", async () => {
    button.style.minWidth = `${button.offsetWidth}px`;
    write(button, (await copy(source)) ? "Copied" : "Selected");
    setTimeout(() => write(button, name), 1500);
  });
}

/** @param {HTMLElement} source @returns {Promise<boolean>} */
async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent ?? "");
    return true;
  } catch {
    // Browsers have a clipboard for scripts with TLS and on localhost only.
    getSelection()?.selectAllChildren(source);
    return document.execCommand("copy");
  }
}
