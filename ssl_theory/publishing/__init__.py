"""From notebooks to a book: execution, cache, ledger, HTML, and the command line."""

import sys

# Whatever reads notebooks checks JSON schemas, and these would build a grammar of web addresses, for more
# than a second of processor time; no schema of a notebook asks for it.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
