#!/usr/bin/env bash
# Makes a Debian package of a program that is built.
#
#   bash deploy/debian/build.sh target/release/aap OUTPUT_DIRECTORY
#
# The package has the program, its unit and its documents. It makes the user `aap`, and starts nothing:
# without a configuration, which has somebody's credentials, there is nobody who could call.
set -euo pipefail

binary=$(realpath "${1:?names no program}")
output=$(realpath "${2:?names no directory}")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
architecture=$(dpkg --print-architecture)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 0755 "$tree"

install -D -m 0755 --strip "$binary" "$tree/usr/bin/aap"
install -D -m 0644 deploy/systemd/aap.service "$tree/lib/systemd/system/aap.service"
install -d -m 0750 "$tree/etc/aap"
for document in CONFIGURATION.md TELEMETRY.md STORAGE.md CHANGELOG.md deploy/RUNBOOK.md deploy/debian/aap.toml.example; do
  install -D -m 0644 "$document" "$tree/usr/share/doc/aap/$(basename "$document")"
done
install -d "$tree/DEBIAN"
cat >"$tree/DEBIAN/control" <<EOF
Package: aap
Version: $version
Architecture: $architecture
Maintainer: the maintainers of aap <aap@localhost>
Section: admin
Priority: optional
Depends: libc6 (>= 2.36), passwd
Installed-Size: $(du -sk "$tree" | cut -f 1)
Description: application access point service
 Decides what applications may do, and has every decision on disk before it is
 answered.
EOF
install -m 0755 deploy/debian/postinst deploy/debian/prerm deploy/debian/postrm "$tree/DEBIAN/"
dpkg-deb --root-owner-group --build "$tree" "$output/aap_${version}_${architecture}.deb"
