# The way back of a checkpoint, by whoever asks for it, and the dead man's switch. Goes on from checkpoint.sh.


# What is left is one line each: in `left` for good, in `again` when the next attempt may do better.
left() { say "$(flat "$1")" >>"$dir/left"; }
again() { left "$1"; retry=yes; }

restore() { # SESSION [--no-restarts] [--force]
  session=$1 caller=$timer.service
  shift
  hold 60 || say "another command of this run is still at work; going on without waiting" >&2
  case $(standing "$dir") in
    open | restoring) mine "$session" ;;
    *) describe "$dir"; exit 41 ;;
  esac
  alive || :
  back "$@"
}

back() {
  force=no restarts=yes
  for word in "$@"; do
    case $word in
      --force) note "force -" ;;
      --no-restarts) restarts=no ;;
    esac
  done
  if noted force -; then force=yes; fi
  # On a full disk nothing may be written but what was there before.
  rm -f -- "$dir/reserve"
  stand restoring || :
  retry=no
  : >"$dir/left"
  files back_file
  sysctls back_sysctl
  units back_unit
  if [ "$restarts" = no ]; then
    restarts owed
    report
  fi
  # A service is not restarted on a file that may still be the new one.
  if [ "$retry" = no ]; then
    restarts back_restart
    for step in $pre; do
      if noted begun "$step"; then afterwards back_after; break; fi
    done
  fi
  close
}

report() {
  flush "$dir/left"
  sed 's/^/left /' "$dir/left"
  if [ "$retry" = yes ]; then say again; fi
  if [ -s "$dir/left" ]; then exit 49; fi
  exit 0
}

close() {
  if [ "$retry" = yes ]; then report; fi
  if [ -s "$dir/left" ]; then stand broken; else stand restored; fi || exit 1
  ended
  grep -q '^begun ' "$dir/journal" || { rm -rf -- "${dir:?}"; exit 0; }
  report
}

ended() {
  release "$run" ${caller:+"$caller"}
  prune
}

# The newest ten that have ended are kept, for a later rollback.
prune() {
  kept=0
  for each in $(ls -1 "$base" | grep '^[0-9]\{8\}T[0-9]\{6\}Z-[0-9a-f.]*$' | sort -r); do
    case $(standing "$base/$each") in
      confirmed | restored | broken)
        kept=$((kept + 1))
        if [ "$kept" -gt 10 ] && [ "$each" != "$run" ]; then rm -rf -- "${base:?}/$each"; fi
        ;;
      '')
        # Killed before it had begun.
        age=$(seen "$base/$each") && [ "$age" -lt 3600 ] || { release "$each"; rm -rf -- "${base:?}/$each"; }
        ;;
    esac
  done
  for each in "$base"/.new.*; do
    kill -0 "${each##*.}" 2>/dev/null || rm -f -- "$each"
  done
}

look() { stat -c '%a %u %g %Y' -- "$1"; }

# A file is put back when it is what this run has made of it; it is left when it is something else.
back_file() { # STEP N PATH BEFORE
  noted begun "$1" || return 0
  at=$(cat "$dir/saved/$2.at" && echo .) && at=${at%.} || { again "$3: its place is not known"; return 0; }
  folder=${at%/*}
  for old in "$folder/.trueup.$run."*; do
    if [ -f "$old" ]; then rm -f -- "$old"; fi
  done
  now=none
  if [ -e "$at" ]; then now=$(digest "$at"); fi
  if [ "$now" = "$4" ]; then
    if [ "$now" = none ] || [ "$(look "$at")" = "$(look "$dir/saved/$2")" ]; then unmake "$1"; return 0; fi
  elif [ "$force" = no ] && ! grep -q "^begun $1 $now " "$dir/journal"; then
    left "$3: changed by somebody else meanwhile; left as it is"
    return 0
  fi
  if [ "$4" = none ]; then
    rm -f -- "$at" || again "$3: could not be removed"
    unmake "$1"
    return 0
  fi
  new_file=$(mktemp -- "$folder/.trueup.$run.XXXXXX") || { again "$3: no file can be made beside it"; return 0; }
  if cp -a -- "$dir/saved/$2" "$new_file" && [ "$(digest "$new_file")" = "$4" ] && flush "$new_file" &&
    mv -f -- "$new_file" "$at"; then
    flush "$folder"
  else
    rm -f -- "$new_file"
    again "$3: could not be put back"
  fi
}

# Folders that were made for a file go with it, unless somebody else uses them.
unmake() {
  [ -f "$dir/saved/step$1.made" ] || return 0
  top=$(cat "$dir/saved/step$1.made" && echo .) && top=${top%.} && each=$folder
  while rmdir -- "$each" 2>/dev/null && [ "$each" != "$top" ]; do each=${each%/*}; done
}

back_sysctl() { # STEP N PATH VALUE
  noted begun "$1" || return 0
  # A boot has undone it, and systemd-sysctl sets what the old files say.
  if noted boot -; then return 0; fi
  old=$(words_of "$dir/saved/$2")
  now=$(words_of "$root$3") || { again "$3: cannot be read"; return 0; }
  if [ "$now" = "$old" ]; then return 0; fi
  if [ "$now" != "$4" ] && [ "$force" = no ]; then
    left "$3: set to $now by somebody else meanwhile; left as it is"
    return 0
  fi
  say "$old" >"$root$3"
  if [ "$(words_of "$root$3")" != "$old" ]; then again "$3: could not be set to $old"; fi
}

back_unit() { # STEP N UNIT
  noted begun "$1" || return 0
  read -r was_enabled was_active <"$dir/saved/$2"
  is=$(systemctl is-enabled "$3" 2>/dev/null 9>&-)
  if [ "$is" != "$was_enabled" ]; then
    case $was_enabled in
      enabled) systemctl enable "$3" 9>&- ;;
      disabled) systemctl disable "$3" 9>&- ;;
    esac >&2 || again "$3: could not be $was_enabled again"
  fi
  is=$(systemctl is-active "$3" 2>/dev/null 9>&-)
  if [ "$is" != "$was_active" ]; then
    case $was_active in
      active | activating) systemctl start "$3" 9>&- ;;
      inactive | failed | unknown | deactivating) systemctl stop "$3" 9>&- ;;
    esac >&2 || left "$3: could not be made $was_active again"
  fi
}

owed() { # STEP COMMAND...
  if noted begun "$1" && ! noted restarted "$1"; then say "owed $1"; fi
}

back_restart() { # STEP COMMAND...
  noted begun "$1" || return 0
  one=$1
  shift
  if noted restarted "$one"; then
    if noted restarted "$one failed"; then left "\`$*\` failed"; fi
    return 0
  fi
  if "$@" </dev/null >&2 9>&-; then
    note "restarted $one"
  else
    note "restarted $one failed"
    left "\`$*\` failed"
  fi
}

back_after() { # STEP COMMAND...
  if noted done "$1" || noted undone "$1"; then return 0; fi
  one=$1
  shift
  note "undone $one"
  "$@" </dev/null >&2 9>&- || left "\`$*\` failed"
}

# One restart on the way back; whoever asks waits for the service's health.
restart() { # SESSION N
  hold 60 || fail 50 "another command of this run is still at work"
  case $(standing "$dir") in
    restoring) mine "$1" ;;
    *) describe "$dir"; exit 41 ;;
  esac
  alive
  only=$2 retry=no
  : >"$dir/left"
  restarts restart_one
  alive
  report
}
restart_one() { if [ "$1" = "$only" ]; then back_restart "$@"; fi; }

# What stands in the way of putting an ended run back: nothing is changed.
check() { files check_file; }
check_file() { # STEP N PATH BEFORE
  noted begun "$1" || return 0
  at=$(cat "$dir/saved/$2.at" && echo .) && at=${at%.} || return 0
  now=none
  if [ -e "$at" ]; then now=$(digest "$at"); fi
  if [ "$now" = "$4" ]; then is=old
  elif grep -q "^begun $1 $now " "$dir/journal"; then is=ours
  else is=changed; fi
  say "file $is $2 $(flat "$3")"
}

confirm() { # SESSION
  hold 60 || fail 50 "another command of this run is still at work"
  case $(standing "$dir") in
    open) mine "$1"; stand confirmed || exit 1 ;;
    confirmed) mine "$1" ;;
    *) describe "$dir"; exit 41 ;;
  esac
  caller=$timer.service
  ended
}

## the dead man's switch ###############################################################################

# Fired by the timer. While the run is alive it waits for the rest of the lease.
failsafe() {
  while :; do
    case $(standing "$dir") in
      confirmed | restored | broken) hold 60; caller=''; ended; exit 0 ;;
    esac
    left=$(rest)
    if [ "$left" -gt 0 ]; then
      sleep "$left"
      continue
    fi
    waited=for
    hold 60 || { waited='in vain'; say "a command of the run is still at work; going on without waiting" >&2; }
    if [ "$(rest)" -gt 0 ]; then
      exec 9>&-
      continue
    fi
    case $(standing "$dir") in
      open | restoring)
        say "no sign of life of run $run for $(field "$dir" lease) s: putting this host back"
        note "failsafe -"
        back
        ;;
      # Died before it had begun, or it is still at it: the timer fires again.
      '') [ "$waited" = for ] || exit 0; abort 0 "run $run died before it had begun" ;;
    esac
  done
}

# Early at boot: the files first; the services start on them, so no restart is owed. What else is to be
# done waits until the host is up.
boot() {
  case $(standing "$dir") in
    open | restoring) ;;
    '') abort 0 "run $run died before it had begun" ;;
    *) caller=''; ended; exit 0 ;;
  esac
  if seen "$dir" >/dev/null; then exit 0; fi
  hold 60
  say "run $run was under way when this host went down: putting it back"
  note "boot -"
  restarts restarted_by_boot
  late=no
  for step in $pre; do
    if noted begun "$step"; then late=yes; fi
  done
  if [ "$late" = yes ]; then
    # The services that the commands of the playbook are about do not run yet.
    systemd-run --quiet "--unit=$timer-late" --on-active=60s -- /bin/sh "$dir/checkpoint" failsafe 9>&-
    ( back --no-restarts )
    exit 0
  fi
  back
}
restarted_by_boot() { if noted begun "$1"; then note "restarted $1"; fi; }

verb=$1
shift
case $verb in
  begin | take | step | passed | renew | restore | restart | check | confirm | failsafe | boot | status) "$verb" "$@" ;;
  *) fail 64 "unknown verb $verb" ;;
esac
