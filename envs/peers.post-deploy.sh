#!/usr/bin/env bash
# countae itself, from the checkout that runs the workflow (set in workflow/rules/common.smk)
set -euo pipefail
pip install --no-deps --quiet "${COUNTAE_SOURCE:?is set by the workflow}"
