#!/bin/sh
# Put the programs of PostgreSQL and Redis into FOLDER/bin: dev/fleet.sh FOLDER
# What the system lacks is unpacked from Debian's packages into FOLDER. Nothing is installed.
set -eu
rm -rf "$1"
mkdir -p "$1/bin" "$1/root/usr" "$1/packages"
folder=$(cd "$1" && pwd)

fail() {
    echo "$*" >&2
    exit 1
}

# In PATH, or the newest where Debian has PostgreSQL's.
on_system() {
    command -v "$1" || ls "/usr/lib/postgresql/"*"/bin/$1" 2>/dev/null | sort -V | tail -n 1
}

# What apt-get would install: the package, and what it needs that the system lacks.
missing_for() {
    apt-get install --simulate --no-install-recommends "$1" 2>/dev/null | awk '/^Inst/ {print $2}'
}

unpack() {
    command -v apt-get >/dev/null || fail "$1 is missing; install it"
    packages=$(missing_for "$1")
    if [ -z "$packages" ] && [ "$(id -u)" = 0 ]; then
        apt-get update >/dev/null
        packages=$(missing_for "$1")
    fi
    [ -n "$packages" ] || fail "$1 is missing, and apt-get does not know it; run: sudo apt-get update"
    (cd "$folder/packages" && apt-get download --quiet=2 $packages 2>"$folder/apt-get.log") ||
        fail "apt-get download has failed; see $folder/apt-get.log, run: sudo apt-get update"
    for package in "$folder/packages/"*.deb; do
        dpkg -x "$package" "$folder/root"
        rm "$package"
    done
}

for need in initdb:postgresql postgres:postgresql redis-server:redis-server; do
    name=${need%:*}
    program=$(on_system "$name")
    if [ -n "$program" ]; then
        ln -s "$program" "$folder/bin/$name"
        continue
    fi
    is_unpacked() { find "$folder/root/usr" -path "*/bin/$name" | grep .; }
    is_unpacked >/dev/null || unpack "${need#*:}"
    libraries=$(find "$folder/root" -path '*/lib/*-linux-gnu*' -prune -type d | paste -s -d :)
    printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' "$libraries" "$(is_unpacked)" >"$folder/bin/$name"
    chmod +x "$folder/bin/$name"
done
for program in "$folder/bin/"*; do "$program" --version; done
