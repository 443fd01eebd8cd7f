"""Build the start script of a cache container: it prepares the volume, then executes the registry.

It uses only a shell and busybox, which the registry image contains.
"""

from __future__ import annotations

from typing import Final

STATE: Final = "scheduler-state.json"
# Percent of the volume that stays free for pulls in progress and the state file.
FREE: Final = 5
# Seconds between two checks of the free space. A network brings 2 GiB in that time.
POLL_INTERVAL: Final = 2
# Consecutive checks with enough space until requests are served again: five minutes. A kubelet retries within five
# minutes, and a failed pull frees its space.
HOLD: Final = 150

_SCRIPT: Final = r"""
full=$marks/full
held=0
hex=[0-9a-f]

say() { printf '{"level":"warning","msg":"%s"}\n' "$1" >&2; }

# Out of the registry's way at once, by a rename, which needs no space; deleted while it serves.
retire() {
  number=0
  while [ -e "$data/removing-$number" ]; do number=$((number + 1)); done
  mv "$data/$1" "$data/removing-$number"
}

# What former upstreams left, and a registry that had the whole volume; lost+found and what else is there is not ours.
retire_former() {
  for path in "$data"/*; do
    case ${path##*/} in
      "$present") ;;
      docker | "$state" | $hex$hex$hex$hex$hex$hex$hex$hex$hex$hex$hex$hex) retire "${path##*/}" ;;
    esac
  done
}

# One object of entries, to its last bracket, as the registry writes it. It would die of anything else: of an empty
# file, a part or an array at its start, of null at the first pull. A bracket ends each entry, and one the object.
is_sound() {
  [ -f "$1" ] && [ "$(tail -c 1 "$1")" = "}" ] || return 1
  tr '}\n\000' '\n##' <"$1" | LC_ALL=C awk '
    BEGIN {
      name = "[A-Za-z0-9._+:@/-]+"; two = "[0-9][0-9]"
      date = two two "-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
      time = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?(Z|[+-]" two ":" two ")"
      entry = "\"" name "\":[{]\"Key\":\"" name "\",\"ExpiryData\":\"" date "T" time "\",\"EntryType\":[01]$"
    }
    closed { broken = 1 }
    (NR == 1 && $0 == "{") || (NR > 1 && $0 == "") { closed = 1; next }
    $0 !~ ((NR == 1 ? "^[{]" : "^,") entry) { broken = 1 }
    END { exit (broken || !closed) }'
}

# An entry for each layer and manifest whose bytes are here, to expire when it would have: ttl after it was stored.
rebuild() {
  {
    find "$1/blobs" -type f -name data
    find "$1/repositories" -type f \( -path '*/_layers/*/link' -o -path '*/_manifests/revisions/*/link' \) \
      -exec stat -c '%Y %n' {} +
  } | TZ=UTC0 LC_ALL=C awk -v ttl="$ttl" -v skip="$((${#1} + 15))" '
    NF == 1 { parts = split($1, part, "/"); here[part[parts - 3] ":" part[parts - 1]] = 1; next }
    {
      parts = split($2, part, "/"); digest = part[parts - 2] ":" part[parts - 1]
      if (!(digest in here)) next
      at = index($2, "/_layers/"); kind = 0
      if (!at) { at = index($2, "/_manifests/"); kind = 1 }
      key = substr($2, skip, at - skip) "@" digest
      expiry = strftime("%Y-%m-%dT%H:%M:%SZ", $1 + ttl)
      printf "%s\"%s\":{\"Key\":\"%s\",\"ExpiryData\":\"%s\",\"EntryType\":%d}", comma, key, key, expiry, kind
      comma = ","
    }
    BEGIN { printf "{" }
    END { printf "}" }' >"$data/$present/$state.new"
}

# Without its books the registry never deletes what it has. Where they cannot be written again (no space even for
# that), the cache begins empty.
mend_state() {
  books=$data/$present/$state tree=$data/$present/docker/registry/v2
  is_sound "$books" && return
  if [ -e "$books" ]; then
    say "$state is damaged; it is kept as $state.damaged and made anew from what is on the volume"
    mv -f "$books" "$books.damaged"
  fi
  [ -d "$tree/repositories" ] || return 0
  rebuild "$tree"
  if is_sound "$books.new"; then
    mv "$books.new" "$books"
  else
    say "$state cannot be made anew; the cache begins empty"
    retire "$present"
  fi
}

# While this file is there the registry answers 503 to everything, so that nodes pull from the upstream: on a full
# volume it would answer 500, or cut layers off.
mark() {
  set -- $(stat -f -c '%b %f %a %c %d' "$data")
  [ $# = 5 ] || return 0
  # As df counts: of what is used and what may be used. A file system without a number of inodes says 0.
  if [ $(($3 * 100)) -lt $((($1 - $2 + $3) * free)) ] || [ $(($5 * 100)) -lt $(($4 * free)) ]; then
    [ -e "$full" ] || say "less than $free % of the volume is free; all requests are answered 503 until more is"
    : >"$full"
    held=0
  elif [ -e "$full" ]; then
    held=$((held + 1))
    [ "$held" -ge "$hold" ] || return 0
    say "at least $free % of the volume is free again"
    rm "$full"
  fi
}

watch() {
  rm -rf "$data"/removing-* &
  while sleep "$look"; do mark; done
}

retire_former
[ "$ttl" = 0 ] || mend_state
mark
watch &
exec registry serve "$configuration"
"""


def script(data: str, present: str, ttl: int, marks: str, configuration: str) -> str:
    """Return the script for the folder `present` of the volume at `data`; `ttl` is in nanoseconds, 0 means no expiry.

    `marks` is a folder in memory. No value may contain shell syntax.
    """
    values = {
        "data": data,
        "present": present,
        "ttl": -(-ttl // 1_000_000_000),
        "marks": marks,
        "configuration": configuration,
        "state": STATE,
        "free": FREE,
        "look": POLL_INTERVAL,
        "hold": HOLD,
    }
    return "#!/bin/sh\n" + "".join(f"{name}={value}\n" for name, value in values.items()) + _SCRIPT
