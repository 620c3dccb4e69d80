"""What the encoded properties of a message say, as pamqp decodes them."""

import struct

from pamqp import header


def properties_in(encoded):
    """Return the properties that ``message.header`` has, by pamqp's names."""
    content = header.ContentHeader()
    content.unmarshal(struct.pack(">HHQ", 60, 0, 0) + encoded)
    got = {n: getattr(content.properties, n) for n in content.properties.attributes()}
    return {n: v for n, v in got.items() if v not in (None, "")}
