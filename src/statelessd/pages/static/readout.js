// @ts-check
/** The line above a chart: a time, and each line's name and value there. */

import { child, set, write } from "./dom.js";
import { clock } from "./format.js";
import { element } from "./svg.js";

export class Readout {
  /** @param {HTMLElement} root @param {string} shape "trace" of a line, or "bar" */
  constructor(root, shape) {
    this.root = root;
    this.shape = shape;
    this.time = child(root, "span", "time");
    /** @type {{root: HTMLElement, swatch: Element, label: HTMLElement, value: HTMLElement}[]} */
    this.items = [];
  }

  /** @param {number | null} at @param {{label: string, look: number, text: string}[]} lines */
  show(at, lines) {
    set(this.root, "data-crosshair", at === null ? "" : String(at));
    write(this.time, at === null ? "now" : clock(at));
    while (this.items.length > lines.length) this.items.pop()?.root.remove();
    while (this.items.length < lines.length) this.items.push(this.item());
    lines.forEach((line, i) => {
      set(this.items[i].swatch, "class", `${this.shape} look-${line.look}`);
      write(this.items[i].label, line.label);
      write(this.items[i].value, line.text);
    });
  }

  item() {
    const root = child(this.root, "span", "entry");
    const swatch = element(root, "svg", "swatch");
    set(swatch, "viewBox", "0 0 24 8");
    set(swatch, "aria-hidden", "true");
    const line = element(swatch, "path");
    set(line, "d", this.shape === "bar" ? "M6 0h12v8h-12z" : "M1 4H23");
    root.append(" ");
    const name = child(root, "span", "name");
    root.append(" ");
    return { root, swatch: line, label: name, value: child(root, "span", "value") };
  }

  text() {
    const values = this.items.map(
      ({ label: { textContent }, value }) => `${textContent} ${value.textContent}`,
    );
    return `${this.time.textContent}: ${values.join(", ") || "no data"}`;
  }
}
