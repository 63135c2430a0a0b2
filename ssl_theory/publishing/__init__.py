"""From notebooks to a book: execution, cache, ledger, HTML, and the command line."""
