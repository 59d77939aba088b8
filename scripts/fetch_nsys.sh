#!/usr/bin/env bash
# Unpacks Debian's Nsight Systems into a cache folder, for tests that want the real thing, and prints the path of `nsys`.
#
#     scripts/fetch_nsys.sh [FOLDER]        default: ${XDG_CACHE_HOME:-~/.cache}/gpubench/nsys
#
# Changes nothing on the system: apt's own client downloads (190 MB) with its own state and cache folders and a list of
# sources made here from the mirror the machine already uses; `dpkg -x` unpacks (700 MB). What it fetches is under NVIDIA's
# licence (non-free): keep it in the cache, never in a repository. Exits 1 with the reason where that does not work here.
set -euo pipefail

readonly RELEASE=trixie                 # the release whose non-free holds nsight-systems; it runs on older ones, too
readonly FOLDER="${1:-${XDG_CACHE_HOME:-$HOME/.cache}/gpubench/nsys}"
readonly NSYS="$FOLDER/nsys"

fail() { echo "fetch_nsys: $*" >&2; exit 1; }

if [[ -x "$NSYS" ]] && timeout 60 "$NSYS" --version >/dev/null 2>&1; then
  echo "$NSYS"
  exit 0
fi

for tool in apt-get dpkg-deb; do
  command -v "$tool" >/dev/null || fail "$tool was not found; this needs a Debian machine."
done
[[ "$(dpkg --print-architecture)" == amd64 ]] || fail "Debian packages Nsight Systems for amd64 only."

# One line per configured archive: base address, release, key file. The first Debian one that has `main` is the mirror.
targets="$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages')" \
  || fail "apt's list of sources could not be read."
read -r mirror release < <(awk '$3 == "main" && $1 ~ /\/debian\/?$/ && $2 !~ /-/ { print $1, $2; exit }' <<<"$targets") || true
[[ -n "${mirror:-}" ]] || fail "apt knows no Debian archive here (looked for a source with the component 'main')."

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[[ -f "$keyring" ]] || fail "$keyring is missing (package debian-archive-keyring)."

mkdir -p "$FOLDER"
find "$FOLDER" -maxdepth 1 -name '.fetch.*' -mmin +60 -exec rm -rf {} +     # of a fetch that was killed
if command -v flock >/dev/null; then
  exec 9>"$FOLDER/.lock"
  flock -w 240 9 || fail "another fetch into $FOLDER takes too long."
  if [[ -x "$NSYS" ]] && timeout 60 "$NSYS" --version >/dev/null 2>&1; then
    echo "$NSYS"
    exit 0
  fi
fi
work="$(mktemp -d "$FOLDER/.fetch.XXXXXX")"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/root"
: >"$work/status"                       # an empty list of installed packages, so that nothing counts as installed
printf 'deb [signed-by=%s] %s %s\n' \
  "$keyring" "$mirror" "$release main" \
  "$keyring" "$mirror" "$RELEASE non-free" >"$work/sources.list"

apt() {
  timeout "$1" apt-get -qq -o Dir::State="$work/state" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" \
    -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- -o Acquire::Languages=none -o APT::Update::Error-Mode=any \
    -o Acquire::Retries=1 -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15 -o APT::Sandbox::User= "${@:2}"
}

apt 60 update || fail "the archive $mirror ($release main, $RELEASE non-free) could not be reached."
# nsys links libssh and libpfm: they come from this machine's own release, because its C library must suit them.
(cd "$work" && apt 240 download nsight-systems nsight-systems-target "libssh-4/$release" "libpfm4/$release") \
  || fail "nsight-systems could not be downloaded from $mirror."
for package in "$work"/*.deb; do
  dpkg-deb -x "$package" "$work/root"
  rm "$package"
done

# Debian splits the package so that nsys does not find its own importer; without it only a .qdstrm comes out.
libraries="$work/root/usr/lib/x86_64-linux-gnu/nsight-systems"
[[ -d "$work/root/usr/lib/nsight-systems/host-linux-x64" ]] || fail "the package has no importer (host-linux-x64): its layout changed."
mkdir -p "$libraries"
[[ -e "$libraries/host-linux-x64" ]] || ln -s ../../nsight-systems/host-linux-x64 "$libraries/host-linux-x64"

rm -rf "$FOLDER/root"
mv "$work/root" "$FOLDER/root"
cat >"$NSYS" <<'WRAPPER'
#!/bin/sh
# Made by gpubench's scripts/fetch_nsys.sh: Debian's nsys with the two libraries it links.
here="$(dirname "$(readlink -f "$0")")/root/usr"
LD_LIBRARY_PATH="$here/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
exec "$here/NSYS_PROGRAM" "$@"
WRAPPER
program="$(cd "$FOLDER/root/usr" && find . -path '*target-linux-x64/nsys' -type f | head -n 1)"
[[ -n "$program" ]] || fail "the package holds no nsys program."
sed -i "s|NSYS_PROGRAM|${program#./}|" "$NSYS"
chmod +x "$NSYS"
timeout 60 "$NSYS" --version >&2 || fail "nsys was unpacked to $FOLDER/root but does not start: $(ldd "$FOLDER/root/usr/${program#./}" | grep 'not found' | tr '\n' ';')"
echo "$NSYS"
