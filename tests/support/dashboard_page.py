"""The dashboard's page in a tab: what it shows, as a test wants to know it."""

import json

import javascript

LIVE = "document.body.dataset.state === 'live'"
LOST = "document.body.dataset.state === 'lost'"


def open_page(user, gateway):
    """Open, and asking."""
    user.open(gateway.url)
    user.wait_for(LIVE)


def figure(name):
    """Return JavaScript for the exact value of a figure."""
    return f"Number(document.querySelector('[data-figure={name}]').dataset.value)"


def drawn(chart):
    """Return JavaScript for the lines of a chart."""
    return f"[...document.querySelectorAll('[data-chart={chart}] [data-series]')].map(" + (
        "path => path.getAttribute('d')).join(' ')"
    )


def rows(user):
    """Return the visible rows of the table of connections, by their columns' names."""
    return user.evaluate("""(() => {
        const names = [...document.querySelectorAll("#connections thead th")].map(
            header => header.querySelector("[data-sort]").dataset.sort
        );
        return [...document.querySelectorAll("#connections tr[data-key]")].map(
            row => Object.fromEntries([...row.cells].map((cell, i) => [names[i], cell.textContent]))
        );
    })()""")


def outcomes(user):
    """Return how often each problem type was answered."""
    found = user.evaluate("""Object.fromEntries(
        [...document.querySelectorAll("#outcomes tr[data-problem]")].map(row => [
            row.dataset.problem,
            Number(row.querySelector("[data-count]").textContent.replaceAll(",", "")),
        ])
    )""")
    return {name: count for name, count in found.items() if count}


def choose(user, backend):
    """Choose a backend in the select of scopes; empty for all."""
    user.evaluate(f"""(() => {{
        const select = document.querySelector("select#scope");
        select.value = {json.dumps(backend)};
        select.dispatchEvent(new Event("change", {{bubbles: true}}));
    }})()""")


def violations(user):
    """Return what axe-core finds wrong with the page, as rule and element."""
    if user.evaluate("typeof axe") == "undefined":
        user.evaluate(javascript.AXE.read_text() + "\n;0")
    return user.evaluate("""axe.run(document, {resultTypes: ["violations"]}).then(
        found => found.violations.flatMap(
            ({id, help, nodes}) => nodes.map(node => `${id}: ${help}: ${node.html.slice(0, 200)}`)
        )
    )""")


def overflow(user):
    """Return elements that stick out of the window's side, if it scrolls sideways."""
    return user.evaluate("""(() => {
        const width = document.documentElement.clientWidth;
        if (document.documentElement.scrollWidth <= width) return [];
        const clipped = element => element && (
            getComputedStyle(element).overflowX !== "visible" || clipped(element.parentElement)
        );
        const wide = [...document.querySelectorAll("body *")].filter(
            element => element.getBoundingClientRect().right > width + 1
                && !clipped(element.parentElement)
        );
        return [document.documentElement.scrollWidth, ...wide.map(
            element => element.outerHTML.slice(0, 120)
        )];
    })()""")


def cut_off(user):
    """Return the texts of tables that cannot be seen in whole without scrolling sideways."""
    return user.evaluate("""[...document.querySelectorAll(".scroll, .scroll :is(th, td)")].filter(
        element => element.offsetParent && (
            element.scrollWidth > element.clientWidth + 1
            || element.getBoundingClientRect().right > innerWidth
        ) && !element.closest("thead, .space")
    ).map(element => element.textContent.trim().slice(0, 80))""")


class Form:
    """``form#try``, filled in as by a user."""

    def __init__(self, user):
        self._user = user

    def fill(self, **fields):
        for name, value in fields.items():
            selector = f"#try [name={name}]"
            kind = self._user.evaluate(f"""(() => {{
                const field = document.querySelector({json.dumps(selector)});
                for (let box = field; (box = box.parentElement?.closest("details")); ) {{
                    box.open = true;
                }}
                return field.type;
            }})()""")
            if kind == "checkbox":
                if self._user.evaluate(f"document.querySelector('{selector}').checked") != value:
                    self._user.click(selector)
            elif kind.startswith("select"):
                self._user.evaluate(
                    f"document.querySelector('{selector}').value = {json.dumps(value)}"
                )
            else:
                self._user.fill(selector, value)

    def submit(self):
        """Submit it; return the status line's text, and the document as it is shown."""
        before = self._answer()
        self._user.click("#try [type=submit]")
        self._user.wait_for(f"{self._ANSWER} !== {json.dumps(before)} && !{self._BUSY}")
        return self._answer(), self._user.evaluate(
            "document.querySelector('#answer pre.document').textContent"
        )

    _ANSWER = 'document.querySelector("#answer").textContent'
    _BUSY = 'document.querySelector("#try [type=submit]").disabled'

    def _answer(self):
        return self._user.evaluate(self._ANSWER)

    def code(self, language):
        """Copy the code, and return it."""
        button = f"[data-copy={language}]"
        self._user.click(button)
        self._user.wait_for(f"document.querySelector('{button}').ariaPressed === 'true'")
        return self._user.evaluate("document.querySelector('pre#code').textContent")
