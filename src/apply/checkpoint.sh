# The checkpoint of one run on one host: saves, changes, puts back. In front of this text stand
#   root, run, turn, pre, and files sysctls units restarts afterwards, which call "$1" once for each entry.
# POSIX sh (dash, bash, busybox) with coreutils or busybox, and flock. A path may hold any byte.
# Exit codes: src/apply/checkpoint.rs.
set -u
umask 077
export LC_ALL=C
PATH=${root:+$root/bin:}${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
[ -z "$root" ] || export TRUEUP_ROOT="$root"
base=$root/var/lib/trueup
dir=$base/$run
timer=trueup-$run
boot_unit=$root/etc/systemd/system/trueup-failsafe.service
boot_link=$root/etc/systemd/system/multi-user.target.wants/trueup-failsafe.service
tab=$(printf '\t')
# What is not a beginning has its script where it belongs.
new='' mutex=ours

say() { printf '%s\n' "$*"; }
fail() { code=$1; shift; say "$*" >&2; exit "$code"; }
flat() { printf '%s' "$1" | tr '\n' ' '; }
digest() { sha256sum <"$1" | cut -d' ' -f1; }
flush() { sync "$@" 2>/dev/null || sync; }
# Standard input becomes a file of the checkpoint, whole or not at all.
put() { cat >"$dir/.$1.$$" && flush "$dir/.$1.$$" && mv -f -- "$dir/.$1.$$" "$dir/$1"; }

uptime() { read -r up _ <"$root/proc/uptime" && say "${up%%.*}"; }
boot_id() { cat "$root/proc/sys/kernel/random/boot_id"; }
alive() {
  up_for=$(uptime)
  say "$up_for $(boot_id)" >"$dir/.life.$$" && mv -f -- "$dir/.life.$$" "$dir/life"
}
# Seconds since the last sign of life of a run; nothing when the host was booted since. No wall clock: it steps.
seen() {
  life='' born=''
  [ ! -r "$1/life" ] || read -r life born <"$1/life" || :
  [ -n "$life" ] && [ "$born" = "$(boot_id)" ] && say $(($(uptime) - life))
}
field() { sed -n "s/^$2 //p" "$1/about" 2>/dev/null; }
standing() { cat "$1/standing" 2>/dev/null; }
# Seconds left of the lease of this run.
rest() {
  lease=$(field "$dir" lease)
  if age=$(seen "$dir"); then say $((${lease:-0} - age)); else say 0; fi
}

describe() {
  say "run ${1##*/}"
  is=$(standing "$1")
  say "standing ${is:-beginning}"
  cat "$1/about" 2>/dev/null
  if age=$(seen "$1"); then say "seen $age"; fi
  sed -n '/./s/^/journal /p' "$1/journal" 2>/dev/null
  sed 's/^/left /' "$1/left" 2>/dev/null
}

status() {
  [ -r "$base" ] || { [ ! -e "$base" ] || fail 1 "$base cannot be read"; return 0; }
  for each in "$base"/*/; do
    each=${each%/}
    if [ -f "$each/checkpoint" ]; then describe "$each"; fi
  done
  if holder=$(readlink "$base/lock"); then say "lock $holder"; fi
}

# The mutex is a lock of the kernel: it goes with the last process that has it open, killed or not. What
# changes files keeps it open; programs of the host do not.
grab() { exec 9>>"$base/mutex" && flock -n 9; }
hold() {
  ( : >>"$base/mutex" ) 2>/dev/null || fail 1 "$base cannot be written"
  until grab; do
    [ "$1" -gt 0 ] || return 1
    sleep 1
    set -- $(($1 - 1))
  done
}

# A full disk can leave half a line behind, so each begins on its own.
note() { printf '\n%s %s\n' "$*" "$(date +%s)" >>"$dir/journal" && flush "$dir/journal"; }
noted() { grep -q "^$1 $2 " "$dir/journal" 2>/dev/null; }
stand() { say "$1" | put standing && note "$1" -; }

mine() {
  [ "$(cat "$dir/session" 2>/dev/null)" = "$1" ] || { describe "$dir"; exit 42; }
}
# Answers a run that is no longer open, or that somebody else has taken over.
open() {
  case $(standing "$dir") in
    open) mine "$1" ;;
    *) describe "$dir"; exit 41 ;;
  esac
}

## begin and take ######################################################################################

systemd_runs() {
  [ -d "$root/run/systemd/system" ] && command -v systemd-run >/dev/null && command -v systemctl >/dev/null
}

# Is the lock to be had? Whoever holds it is told; a run that ended, or never began, does not hold it. Under the mutex.
free() {
  holder=$(readlink "$base/lock") || return 0
  [ "$holder" != "$run" ] || return 0
  case $(standing "$base/$holder") in
    open | restoring) describe "$base/$holder"; return 40 ;;
    '') release "${holder:?}"; rm -rf -- "${base:?}/$holder" ;;
  esac
  rm -f -- "$base/lock"
}

# Takes it.
lock() {
  free || return
  [ -L "$base/lock" ] || ln -sn -- "$run" "$base/lock"
}

# Nothing holds the host any more in the name of this run, which may be asked as often as one likes. The timer
# goes last: killed before, it fires and does the rest.
release() { # RUN [SERVICE]
  rm -f -- "$boot_unit".[0-9]*
  if grep -q -F -- "/$1/checkpoint boot" "$boot_unit" 2>/dev/null; then
    rm -f -- "$boot_link" "$boot_unit"
  fi
  if [ "$(readlink "$base/lock")" = "$1" ]; then rm -f -- "$base/lock"; fi
  # The service is not stopped by itself. There may be no systemd.
  systemctl stop "trueup-$1.timer" ${2+"$2"} >/dev/null 2>&1 9>&-
  return 0
}

# The timer comes before everything that it would have to take away.
arm() { # FAILSAFE LEASE
  [ "$1" = yes ] || return 0
  # One that is armed already reads the new lease when it fires, unless that were too late for it.
  if systemctl is-active --quiet "$timer.timer" 2>/dev/null 9>&-; then
    if [ "${armed:-0}" -le "$2" ]; then return 0; fi
    systemctl stop "$timer.timer" 2>/dev/null 9>&-
  fi
  systemctl reset-failed "$timer.service" 2>/dev/null 9>&-
  systemd-run --quiet "--unit=$timer" "--description=Puts this host back when trueup run $run dies" \
    "--on-active=${2}s" --on-unit-inactive=60s --timer-property=AccuracySec=1s \
    -- /bin/sh "$dir/checkpoint" failsafe 9>&-
}

# A host that is booted meanwhile is put back, too.
arm_boot() {
  [ "$1" = yes ] || return 0
  mkdir -p -- "${boot_link%/*}" || return 1
  {
    say '[Unit]'
    say "Description=Puts back what the unfinished trueup run $run has changed"
    say 'DefaultDependencies=no'
    say "RequiresMountsFor=$base /etc"
    say 'After=local-fs.target'
    say 'Before=systemd-sysctl.service sysinit.target shutdown.target'
    say 'Conflicts=shutdown.target'
    say '[Service]'
    say 'Type=oneshot'
    say "ExecStart=/bin/sh $dir/checkpoint boot"
    say 'TimeoutStartSec=300'
    say '[Install]'
    say 'WantedBy=multi-user.target'
  } >"$boot_unit.$$" && chmod 644 "$boot_unit.$$" && flush "$boot_unit.$$" &&
    mv -f -- "$boot_unit.$$" "$boot_unit" &&
    ln -sfn -- ../trueup-failsafe.service "$boot_link" && flush "${boot_link%/*}"
}

about() {
  say "$1" | put session || return 1
  {
    say "who $2"
    say "pid $3"
    say "since $(date +%s)"
    say "trueup $4"
    say "lease $5"
    say "failsafe $6"
    say "turn $turn"
  } | put about && alive
}

# Ends a beginning: nothing was changed, and nothing stays. Whoever does not have the mutex has made nothing.
abort() {
  code=$1
  shift
  trap '' HUP INT TERM PIPE
  [ $# = 0 ] || say "$*" >&2
  [ -z "$new" ] || rm -f -- "$new"
  if [ "$mutex" = ours ]; then
    release "$run"
    rm -rf -- "${dir:?}"
  fi
  exit "$code"
}

# This script is beside the folder of its run until the mutex is taken: a run that waits, or that is asked again
# because an answer was lost, is in nobody's way.
begin() { # SESSION WHO PID VERSION LEASE FAILSAFE
  new=$0 mutex=''
  # Whoever gives this command up, or dies, has it ended with TERM and a second later with KILL.
  trap 'abort 129' HUP INT TERM PIPE
  for program in flock sha256sum readlink mktemp; do
    command -v "$program" >/dev/null || abort 1 "the host has no $program"
  done
  if [ "$6" = yes ] && ! systemd_runs; then abort 43 "systemd does not run on this host"; fi
  chmod 700 -- "$base" && ( : >>"$base/mutex" ) || abort 1
  patience=60
  until grab; do
    # A run that is at work is not waited for.
    holder=$(readlink "$base/lock") && [ "$holder" != "$run" ] && [ "$(standing "$base/$holder")" = open ] && {
      describe "$base/$holder"
      abort 40
    }
    [ "$patience" -gt 0 ] || abort 50 "another checkpoint is being made or put back"
    patience=$((patience - 1))
    sleep 1
  done
  if [ -e "$dir/standing" ]; then
    # An answer that was lost is asked for again.
    rm -f -- "$new"
    open "$1"
    exit 0
  fi
  mutex=ours
  free || abort $?
  mkdir -p -- "$dir/saved" && mv -f -- "$new" "$dir/checkpoint" && about "$@" || abort 1
  arm "$6" "$5" || abort 43 "the failsafe could not be armed"
  lock || abort $?
  changed=''
  files save_file
  [ -z "$changed" ] || abort 51
  sysctls save_sysctl
  units save_unit
  # Room for the way back, should the disk be full by then.
  { cat "$dir"/saved/* && head -c 65536 /dev/zero; } >"$dir/reserve" || abort 1
  flush "$dir"/* "$dir/saved"/* "$dir" "$base"
  arm_boot "$6" || abort 43 "the failsafe could not be armed"
  stand open || abort 1
}

# The regular file behind a path; a symbolic link stays one.
resolve() {
  at=$(readlink -f -- "$1" && echo .) || return 1
  at=${at%??}
}

save_file() { # STEP N PATH BEFORE
  path=$root$3
  now=none
  if [ -e "$path" ]; then
    resolve "$path" && [ -f "$at" ] || abort 1 "$(flat "$3") is not a regular file"
    cp -a -- "$at" "$dir/saved/$2" && now=$(digest "$dir/saved/$2") && [ -n "$now" ] || abort 1
  else
    [ ! -L "$path" ] || abort 1 "$(flat "$3") is a symbolic link to nothing"
    at=$path
  fi
  printf %s "$at" >"$dir/saved/$2.at" || abort 1
  if [ "$now" != "$4" ]; then
    changed=yes
    say "changed $(flat "$3")"
  fi
}

save_sysctl() { # STEP N PATH VALUE
  cat -- "$root$3" >"$dir/saved/$2" || abort 1
}

save_unit() { # STEP N UNIT
  # One substitution a command: bash 5.2 loses a trap that falls between two of them.
  enabled=$(systemctl is-enabled "$3" 2>/dev/null 9>&-)
  say "$enabled $(systemctl is-active "$3" 2>/dev/null 9>&-)" >"$dir/saved/$2" || abort 1
}

# Another session goes on with this run: to finish it, or (reopen) to put it back, also after it ended.
take() { # SESSION WHO PID VERSION LEASE FAILSAFE reopen|continue
  hold 60 || fail 50 "another checkpoint is being made or put back"
  case $(standing "$dir") in
    open) ;;
    restoring) [ "$7" = reopen ] || { describe "$dir"; exit 41; } ;;
    confirmed | restored | broken) [ "$7" = reopen ] || { describe "$dir"; exit 41; } ;;
    *) describe "$dir"; exit 41 ;;
  esac
  if [ "$6" = yes ] && ! systemd_runs; then fail 43 "systemd does not run on this host"; fi
  free || exit $?
  armed=$(field "$dir" lease)
  about "$@" || exit 1
  arm "$6" "$5" && lock && arm_boot "$6" || fail 43 "the failsafe could not be armed"
  if [ "$(standing "$dir")" != open ]; then
    # What was done on an earlier way back is done again.
    sed 's/^\(boot\|force\|restarted\|undone\) /earlier-&/' "$dir/journal" | put journal && stand restoring || exit 1
  fi
}

## step ################################################################################################

step() { # SESSION N write|sysctl|unit|run ...
  session=$1 n=$2 kind=$3
  shift 3
  hold 20 || fail 50 "another command of this run is still at work"
  open "$session"
  alive || exit 1
  case $kind in
    write) write "$@" ;;
    sysctl) sysctl_set "$@" ;;
    unit) note "begun $n" && for word in $1; do command_of systemctl "$word" "$2"; done || exit 1 ;;
    run) note "begun $n" && command_of "$@" || exit 1 ;;
  esac
  note "done $n" || exit 1
  alive
}

# A command of the host. How it ended is said apart from how this script ends.
command_of() {
  "$@" </dev/null >&2 9>&- && return 0
  say "exit $?"
  note "failed $n"
  exit 60
}

refuse() {
  code=$1
  shift
  say "$*" >&2
  note "failed $n"
  exit "$code"
}

# Replaces a file whole or not at all: the new bytes go beside it, are checked by hash (a cut connection ends
# standard input early), flushed, and renamed over it.
write() { # PATH MODE OWNER GROUP EXPECTED NEW CHECK...
  path=$root$1 mode=$2 owner=$3 group=$4 expected=$5 new=$6
  shift 6
  if [ -e "$path" ]; then resolve "$path" && now=$(digest "$at") || exit 1; else at=$path now=none; fi
  if [ "$now" != "$expected" ]; then fail 45 "the file has changed meanwhile"; fi
  folder=${at%/*}
  made "$folder" || exit 1
  note "begun $n $new" || exit 1
  mkdir -p -m 755 -- "$folder" || refuse 1 "its folder cannot be made"
  new_file=$(mktemp -- "$folder/.trueup.$run.XXXXXX") || refuse 1 "no file can be made beside it"
  trap 'rm -f -- "$new_file"' EXIT
  trap 'exit 129' HUP INT TERM PIPE
  cat >"$new_file" || refuse 1 "the new content could not be written"
  if [ "$(digest "$new_file")" != "$new" ]; then refuse 46 "the new content did not arrive whole"; fi
  chown -- "$owner:$group" "$new_file" && chmod -- "$mode" "$new_file" ||
    refuse 1 "owner and mode could not be set"
  if [ -e "$at" ] && command -v chcon >/dev/null 2>&1; then
    chcon --reference="$at" -- "$new_file" 2>/dev/null || :
  fi
  if [ $# -gt 0 ]; then
    # The place of the new file is the word %s of the check.
    words=$#
    while [ "$words" -gt 0 ]; do
      word=$1
      shift
      case $word in *%s*) word="${word%%\%s*}$new_file${word#*%s}" ;; esac
      set -- "$@" "$word"
      words=$((words - 1))
    done
    "$@" >&2 </dev/null 9>&- || refuse 47 "the check refused the new file"
  fi
  flush "$new_file"
  mv -f -- "$new_file" "$at" || refuse 1 "the new file could not take its place"
  flush "$folder"
}

# Remembers the highest folder that is not there yet.
made() {
  [ ! -d "$1" ] || return 0
  top=$1
  while above=${top%/*} && [ -n "$above" ] && [ ! -d "$above" ]; do top=$above; done
  printf %s "$top" >"$dir/saved/step$n.made"
}

# The kernel clamps some values without an error, so the value is read back.
sysctl_set() { # PATH VALUE
  note "begun $n" || exit 1
  say "$2" >"$root$1" || refuse 1 "the kernel refused it"
  now=$(words_of "$root$1")
  if [ "$now" != "$2" ]; then refuse 48 "the kernel holds $now"; fi
}

words_of() { tr -s "$tab" ' ' <"$1"; }

passed() { # SESSION N: the service is healthy after this step
  hold 20 || fail 50 "another command of this run is still at work"
  open "$1"
  note "passed $2" && alive
}

renew() { # SESSION
  case $(standing "$dir") in
    open | restoring) mine "$1" ;;
    *) describe "$dir"; exit 41 ;;
  esac
  alive
}
