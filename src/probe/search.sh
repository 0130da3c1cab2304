# Looks for lines in the logs of a host and writes nothing. It runs as `sh -s`, and the lines in front of it
# (see search.rs) set: token root names folders files units minutes since before each budget patterns spots.
# Everything is in functions, so that a text cut off on the way does nothing at all.
# The work is one pass of `grep -F` over each file; what it finds and nothing else is printed.

part() { printf '\n%s %s %s %s\n' "$token" "$1" "${2-}" "${3-}"; }

has() {
  if [ -n "$root" ]; then
    [ -x "$root/bin/$1" ] || [ -x "$root/usr/bin/$1" ]
  else
    command -v "$1" >/dev/null 2>&1
  fi
}

# The host's clock and zone: by name where it has one, and as it is today.
clock() {
  zone=
  if [ -L "$root/etc/localtime" ]; then
    zone=$(readlink "$root/etc/localtime")
    zone=${zone#*zoneinfo/}
  elif [ -r "$root/etc/timezone" ]; then
    read -r zone <"$root/etc/timezone"
  fi
  part clock
  printf '%s\n%s\n%s\n' "$zone" "$(date +%z)" "$(date +%s)"
  hostname=
  if [ -r "$root/proc/sys/kernel/hostname" ]; then read -r hostname <"$root/proc/sys/kernel/hostname"; fi
  [ -n "$hostname" ] || hostname=$(uname -n)
  printf '%s\n' "$hostname"
}

# The logs below the folders, the newest first.
list() {
  set --
  set +f
  for folder in $folders; do
    for found in "$root"$folder; do
      if [ -d "$found" ]; then set -- "$@" "$found"; fi
    done
  done
  set -f
  [ "$#" -gt 0 ] || return 0
  if [ -n "$minutes" ]; then set -- "$@" -mmin "-$minutes"; fi
  find -L "$@" -type f -name '*log*' ! -name '*.journal*' ! -name "*$nl*" -exec ls -1td -- {} +
}

# What is left of the time, in seconds; at least one.
left() {
  now=$(date +%s)
  rest=$((started + budget - now))
  [ "$rest" -gt 0 ] || rest=1
}

# Runs grep on one file, by the file's kind.
search() {
  case $file in
    *.gz) timeout -k 2 "$rest" gzip -dc "$file" | grep "$@" ;;
    *.xz) timeout -k 2 "$rest" xz -dc "$file" | grep "$@" ;;
    *.bz2) timeout -k 2 "$rest" bzip2 -dc "$file" | grep "$@" ;;
    *.zst) timeout -k 2 "$rest" zstd -dc "$file" | grep "$@" ;;
    *) timeout -k 2 "$rest" grep "$@" "$file" ;;
  esac
}

# The tool that a compressed file needs, if it is not there.
missing() {
  case $file in
    *.gz) has gzip || printf gzip ;;
    *.xz) has xz || printf xz ;;
    *.bz2) has bzip2 || printf bzip2 ;;
    *.zst) has zstd || printf zstd ;;
  esac
}

# The lines of every file that hold one of the patterns. RabbitMQ says on the line below why it closed a
# connection, and up to 3.6 on the line above when.
look() {
  for file in $all; do
    path=${file#"$root"}
    if [ ! -r "$file" ]; then part denied "$path"; continue; fi
    lacks=$(missing)
    if [ -n "$lacks" ]; then part lacks "$path" "$lacks"; continue; fi
    left
    if [ "$rest" -le 1 ]; then part late "$path"; continue; fi
    part log "$path"
    around=
    case $path in
      *rabbit*) around=-A1$nl-B1 ;;
    esac
    # The newest lines are the last, so those are kept where there are too many.
    search -a -F -n -b $around "$@" | tail -c "$each"
    part size "$(wc -c <"$file")"
  done
}

# The text in front of a line, for what a traceback says above it.
spot() {
  offset=$1
  file=$root$2
  [ -r "$file" ] || return 0
  from=$((offset - before))
  [ "$from" -ge 0 ] || from=0
  left
  part spot "$2"
  # As far as the line itself goes.
  span=$((offset - from + 1024))
  case $file in
    *.gz) timeout -k 2 "$rest" gzip -dc "$file" | tail -c "+$((from + 1))" | head -c "$span" ;;
    *.xz) : ;;
    *.bz2) : ;;
    *.zst) : ;;
    *) tail -c "+$((from + 1))" "$file" | head -c "$span" ;;
  esac
}

journal() {
  if [ -z "$units" ] || ! has journalctl; then return 0; fi
  left
  part log journal
  timeout -k 2 "$rest" journalctl -q --no-pager -o short-unix --since "$since" $units | grep -a -F "$@" | tail -c "$each"
}

main() {
  IFS=$nl
  set -f
  export LC_ALL=C
  started=$(date +%s)
  part begin
  clock
  all=$files
  if [ -z "$all" ]; then all=$(list); fi
  set --
  for pattern in $patterns; do set -- "$@" -e "$pattern"; done
  if [ "$#" -gt 0 ]; then
    look "$@"
    journal "$@"
  fi
  for line in $spots; do spot "${line%% *}" "${line#* }"; done
  part end
}

nl='
'
# What is printed is bounded, whatever the logs hold; the last mark comes anyway.
bounded() {
  main | head -c "$whole"
  part end
}

bounded </dev/null 2>/dev/null
exit 0
