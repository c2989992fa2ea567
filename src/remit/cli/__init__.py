"""A shell over the same HTTP surface everybody else uses: noun-verb, `--json` everywhere, exit codes that mean something."""
