#!/bin/sh
# Make sure that there is a Chromium for the tests in a browser: dev/chromium.sh FILE
# Where it is missing, root installs Debian's package; anybody else is told to.
set -eu
if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null; then
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        echo "Chromium is missing; run: sudo apt-get install chromium" >&2
        exit 1
    fi
    apt-get update >/dev/null
    apt-get install --yes --no-install-recommends chromium >/dev/null
fi
touch "$1"
