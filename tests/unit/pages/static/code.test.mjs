import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import {
  authorization,
  form,
  path,
  php,
  python,
  refusal,
  shell,
  WRITERS,
} from "../../../../src/statelessd/pages/static/code.js";

const NASTY = [
  "",
  " ",
  "plain",
  "-u",
  "@file",
  "it's",
  'say "so"',
  "$HOME `id` $(id) ${x} !!",
  "back\\slash\\",
  "\\n",
  "\\'",
  "line\nline\r\n\ttab",
  '\n"and" $x {$y} \\n \\',
  "naïve ☃ 😀 \u2028",
  "<?php ?>",
  "a=b&c=d%41+",
  "'\\''",
  "{$x} {${x}}",
  "\x01\x7f",
  "#{x} %s {0}",
];

/** What a program prints, exactly. */
const printed = (program, ...options) => execFileSync(program, options, { encoding: "utf8" });

test("a shell reads each text as it was", () => {
  for (const text of NASTY) assert.equal(printed("sh", "-c", `printf %s ${shell(text)}`), text);
});

test("PHP reads each text as it was", () => {
  const code = NASTY.map((text) => `echo bin2hex(${php(text)}), "\\n";`).join("");
  const expected = NASTY.map((text) => Buffer.from(text).toString("hex"));
  assert.deepEqual(printed("php", "-r", code).split("\n").slice(0, -1), expected);
});

test("Python reads each text as it was", () => {
  const code = NASTY.map((text) => `print(${python(text)}.encode().hex())`).join("\n");
  const expected = NASTY.map((text) => Buffer.from(text).toString("hex"));
  assert.deepEqual(printed("python3", "-c", code).split("\n").slice(0, -1), expected);
});

test("credentials are in UTF-8, and the password may have colons", () => {
  assert.equal(
    Buffer.from(authorization("üser", "pä:ss 😀").split(" ")[1], "base64").toString(),
    "üser:pä:ss 😀",
  );
});

const publish = {
  virtualHost: "/",
  exchange: "a/b c",
  routingKey: "x%2F?#é",
  username: "it's",
  fields: [["body", "a&b=c\n"]],
};

test("each part of the path is one segment", () => {
  assert.equal(path(publish), "/%2F/a%2Fb%20c/x%252F%3F%23%C3%A9");
  assert.equal(path({ ...publish, exchange: "" }).split("/")[2], "amq.default");
});

test("parts that a URL cannot carry are refused", () => {
  assert.ok(refusal(".."));
  assert.ok(refusal("."));
  assert.equal(refusal("..."), "");
});

test("the form carries every field as it is", () => {
  assert.deepEqual([...new URLSearchParams(form(publish))], publish.fields);
});

test("the code names the password's variable only", () => {
  for (const [language, name] of [
    ["curl", '"$PASSWORD"'],
    ["php", "getenv('PASSWORD')"],
    ["python", 'os.environ["PASSWORD"]'],
  ]) {
    assert.ok(WRITERS[language](publish, "http://localhost:8000").includes(name), language);
  }
});
