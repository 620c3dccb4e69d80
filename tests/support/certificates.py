"""An authority of the tests' own, and certificates that it vouches for."""

import ssl

import trustme


class Authority:
    """Vouches for ``names``.

    ``ca``: the file with its certificate, for the other side; ``settings``: the
    files of the certificate and its key, as statelessd takes them.
    """

    def __init__(self, directory, names=("localhost", "127.0.0.1", "::1"), authority=None):
        directory.mkdir(exist_ok=True)
        self._names = names
        self._authority = authority or trustme.CA()
        self.ca = directory / "ca.pem"
        self.certificate = directory / "certificate.pem"
        self.key = directory / "key.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))
        self.issue()

    @property
    def settings(self):
        return {"certificate": str(self.certificate), "key": str(self.key)}

    def for_others(self, directory, *names):
        """Return another certificate of the same authority, for other names."""
        return Authority(directory, names, self._authority)

    def issue(self, **kwargs):
        """Replace the certificate and key by new ones; return the certificate's PEM text."""
        made = self._authority.issue_cert(*self._names, **kwargs)
        # Replaced as renewing tools do it: one after the other, each at once.
        for target, content in (
            (self.certificate, made.cert_chain_pems[0]),
            (self.key, made.private_key_pem),
        ):
            fresh = target.with_suffix(".new")
            content.write_to_path(str(fresh))
            fresh.replace(target)
        return self.certificate.read_text()

    def server_context(self):
        """Return a context for a server that shows the certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context
