#!/bin/sh
# Put uv, which builds the environments, into a virtual environment of its own: dev/bootstrap.sh FOLDER
set -eu
folder=$1
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || {
    echo "$python is $("$python" --version 2>&1); Airflow needs 3.10 to 3.13. Name one: make ... PYTHON=python3.12" >&2
    exit 1
}
rm -rf "$folder"
if ! "$python" -m venv "$folder" 2>/dev/null; then
    # Debian keeps venv's helper in a package of its own.
    echo "python3-venv is missing; installing it" >&2
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        { apt-get update && apt-get install --yes --no-install-recommends python3-venv; } >/dev/null
    else
        echo "run: sudo apt-get install python3-venv" >&2
        exit 1
    fi
    rm -rf "$folder"
    "$python" -m venv "$folder"
fi
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --requirement constraints/uv.txt
