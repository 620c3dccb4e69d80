// @ts-check
/** One publish as a request, and as code to copy. All texts may hold anything. */

/**
 * @typedef {object} Publish
 * @property {string} virtualHost
 * @property {string} exchange
 * @property {string} routingKey
 * @property {string} username
 * @property {[string, string][]} fields The form: body, properties and options.
 */

export const DEFAULT_EXCHANGE = "amq.default";

/** @param {string} text */
export function utf8(text) {
  return new TextEncoder().encode(text);
}

/** Basic credentials in UTF-8 (RFC 7617). @param {string} username @param {string} password */
export function authorization(username, password) {
  const octets = Array.from(utf8(`${username}:${password}`), (octet) => String.fromCharCode(octet));
  return `Basic ${btoa(octets.join(""))}`;
}

/** @param {Publish} publish */
export function path({ virtualHost, exchange, routingKey }) {
  return `/${[virtualHost, exchange || DEFAULT_EXCHANGE, routingKey].map(encodeURIComponent).join("/")}`;
}

/** @param {Publish} publish */
export function form({ fields }) {
  return new URLSearchParams(fields).toString();
}

/**
 * Why a part of the path cannot be sent; empty if it can.
 * @param {string} text
 */
export function refusal(text) {
  // The URL standard takes them for steps along the path, percent-encoded or not.
  return text === "." || text === ".."
    ? "Browsers and curl cannot send “.” or “..” as a part of a path."
    : "";
}

/** @typedef {"curl" | "php" | "python"} Language */

/** @type {Record<Language, (publish: Publish, gateway: string) => string>} */
export const WRITERS = {
  curl(publish, gateway) {
    return [
      `curl -i -u ${shell(`${publish.username}:`)}"$PASSWORD"`,
      ...publish.fields.map(([name, value]) => `  --data-urlencode ${shell(`${name}=${value}`)}`),
      `  ${shell(gateway + path(publish))}`,
    ].join(" \\\n");
  },

  php(publish, gateway) {
    return `<?php
$curl = curl_init(${php(gateway + path(publish))});
curl_setopt_array($curl, [
    CURLOPT_USERPWD => ${php(`${publish.username}:`)} . getenv('PASSWORD'),
    CURLOPT_POSTFIELDS => http_build_query([
${publish.fields.map(([name, value]) => `        ${php(name)} => ${php(value)},`).join("\n")}
    ]),
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_TIMEOUT => 10,
    CURLOPT_FORBID_REUSE => true, // else libcurl may send it a second time by itself
]);
$answer = curl_exec($curl);
echo curl_getinfo($curl, CURLINFO_RESPONSE_CODE), "\\n", $answer, "\\n";
`;
  },

  python(publish, gateway) {
    return `import os

import requests

answer = requests.post(
    ${python(gateway + path(publish))},
    auth=(${python(publish.username)}.encode(), os.environ["PASSWORD"].encode()),
    data={
${publish.fields.map(([name, value]) => `        ${python(name)}: ${python(value)},`).join("\n")}
    },
    timeout=10,
)
print(answer.status_code, answer.text)
`;
  },
};

/** For POSIX shells: nothing is special between single quotes. @param {string} text */
export function shell(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** @param {string} text */
export function php(text) {
  if (!/[\x00-\x1f\x7f]/.test(text)) return `'${text.replace(/[\\']/g, "\\$&")}'`;
  const escaped = text
    .replace(/[\\"$]/g, "\\$&")
    .replaceAll("\n", "\\n")
    .replace(
      /[\x00-\x1f\x7f]/g,
      (each) => `\\x${each.charCodeAt(0).toString(16).padStart(2, "0")}`,
    );
  return `"${escaped}"`;
}

/** What JSON escapes, Python reads in the same way. @param {string} text */
export function python(text) {
  return JSON.stringify(text);
}
