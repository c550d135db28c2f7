#!/bin/sh
# Does an acknowledged write survive a power failure?
#
#   tests/power-fail.sh [ROUNDS]          40 rounds by default; needs root, loop devices, xfsprogs, e2fsprogs
#
# The store lies on an ext4 file system in an image file, the image on an XFS that can copy by reference. While
# writers write, the image is copied: the copy is what a disk would hold had the power failed in that instant, all
# that was synced and only by chance what was not. It is mounted, which replays ext4's journal as a boot would, and
# the store in it is opened and compared with the writes acknowledged before the copy began. The acknowledgements are
# kept on another file system.
#
# Prints `rounds R, unopenable U, lost L`; ends with 0 if U and L are 0, 77 if it cannot be run here.
set -eu

rounds=${1:-40}
writers=16
root=$(cd "$(dirname "$0")/.." && pwd)

skip() {
    echo "skipped: $1" >&2
    exit 77
}

[ "$(uname -s)" = Linux ] || skip "the simulation is for Linux"
[ "$(id -u)" = 0 ] || skip "it mounts file systems: run it as root"
if ! command -v mkfs.xfs >/dev/null || ! command -v mkfs.ext4 >/dev/null; then
    command -v apt-get >/dev/null || skip "mkfs.xfs and mkfs.ext4 are needed: install xfsprogs and e2fsprogs"
    apt-get install -y -q xfsprogs e2fsprogs >/dev/null || skip "xfsprogs and e2fsprogs do not install"
fi

work=$(mktemp -d)
writer=
clean_up() {
    [ -z "$writer" ] || kill -9 "$writer" 2>/dev/null || true
    [ -z "$writer" ] || wait "$writer" 2>/dev/null || true
    for mounted in "$work/copy" "$work/disk" "$work/xfs"; do
        # Writes of a killed process may still be under way: the second attempt is late enough.
        if mountpoint -q "$mounted"; then umount "$mounted" || { sleep 2; umount "$mounted"; } || true; fi
    done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

mkdir "$work/xfs" "$work/disk" "$work/copy"
truncate -s 6G "$work/xfs.image"
mkfs.xfs -q -m reflink=1 "$work/xfs.image"
mount -o loop "$work/xfs.image" "$work/xfs" 2>"$work/error" || skip "loop mounts of XFS do not work here: $(cat "$work/error")"
truncate -s 1G "$work/xfs/image"
mkfs.ext4 -q "$work/xfs/image"
mount -o loop "$work/xfs/image" "$work/disk" || skip "loop mounts of ext4 do not work here"

echo "building" >&2
cd "$root"
cargo build --quiet --release -p bellwether-store --example numbered_write --example numbered_check
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
examples=$target/release/examples

: >"$work/acknowledged"
# Every other writer with a journal so small that rows are on their way into sled most of the time.
journal=8388608
start_writer() {
    BELLWETHER_JOURNAL_BYTES=$journal "$examples/numbered_write" "$work/disk/store" "$writers" >>"$work/acknowledged" 2>"$work/writer.log" &
    writer=$!
}

unopenable=0
lost=0
round=0
start_writer
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    # Between half a second and two and a half, so that failures hit different moments.
    sleep "$((round * 7 % 3)).$((round * 37 % 10))5"
    kill -0 "$writer" 2>/dev/null || { echo "the writer ended: $(cat "$work/writer.log")" >&2; exit 1; }
    cp "$work/acknowledged" "$work/before"
    cp --reflink=always "$work/xfs/image" "$work/xfs/copy"
    mount -o loop "$work/xfs/copy" "$work/copy"
    code=0
    timeout 120 "$examples/numbered_check" "$work/copy/store" "$writers" "$work/before" >"$work/check.log" 2>&1 || code=$?
    echo "round $round: $(tail -n 1 "$work/check.log")" >&2
    blobs=$(ls "$work/copy/store/blobs" | wc -l)
    [ "$blobs" = 0 ] || echo "  $blobs blob files, which are never synced" >&2
    case $code in
    0) ;;
    3) lost=$((lost + 1)) && sed 's/^/  /' "$work/check.log" >&2 ;;
    *) unopenable=$((unopenable + 1)) && sed 's/^/  /' "$work/check.log" >&2 ;;
    esac
    umount "$work/copy"
    rm "$work/xfs/copy"
    # Every tenth round the writer is killed and started again, so that recovered stores are written to as well.
    if [ $((round % 10)) = 0 ]; then
        kill -9 "$writer"
        wait "$writer" 2>/dev/null || true
        [ "$journal" = 262144 ] && journal=8388608 || journal=262144
        start_writer
    fi
done
echo "rounds $round, unopenable $unopenable, lost $lost"
[ "$unopenable" = 0 ] && [ "$lost" = 0 ]
