#!/bin/sh
# Unpacks the Debian package $1 into the folder $2 without installing it: for a plugin whose package
# conflicts with another one that the tests need. Says so and goes on where that is not possible.
[ -d "$2" ] && exit 0
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || exit 0
folder=$(mktemp -d)
chmod 755 "$folder"
(cd "$folder" && apt-get download -qq "$1" >/dev/null 2>&1 && dpkg-deb -x "$1"_*.deb unpacked) &&
    mkdir -p "$2" && cp -R "$folder"/unpacked/. "$2" ||
    echo "Could not unpack $1; going on without what needs it." >&2
rm -rf "$folder"
exit 0
