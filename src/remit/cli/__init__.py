"""A shell over the HTTP surface everybody uses: noun-verb, `--json` everywhere, exit codes that mean something."""
