//! A host at the other end of a transport.

use std::time::Duration;

use crate::apply::{Saved, Site, Write};
use crate::cmd::{Cmd, Output};
use crate::error::HostError;
use crate::facts::Facts;
use crate::plan::{Action, content};
use crate::probe::{self, Request};
use crate::transport::Transport;

/// A real host.
#[derive(Debug)]
pub struct Remote<T> {
    /// How commands reach it.
    pub transport: T,
    /// Its name, its root, whether it takes sudo, and what is asked of it.
    pub request: Request,
    /// How long a restart may take: a RabbitMQ node tells systemd that it is up only when it is.
    pub restart_deadline: Duration,
}

/// Prints mode, owner, group, then the bytes; exit 44 when there is no such file.
const READ: &str = r#"
[ -e "$1" ] || exit 44
stat -L -c '%a %u %g' -- "$1" && cat -- "$1"
"#;

/// Replaces a file whole or not at all: the new bytes go beside it, are checked by hash (a cut connection
/// ends standard input early), flushed, and renamed over it. A symbolic link stays one.
const WRITE: &str = r#"
set -eu
path=$1 mode=$2 owner=$3 group=$4 expected=$5 new=$6
shift 6
hash() { sha256sum "$1" | cut -d' ' -f1; }
if [ -e "$path" ]; then path=$(readlink -f -- "$path"); now=$(hash "$path"); else now=none; fi
if [ "$now" != "$expected" ]; then echo "the file has changed meanwhile" >&2; exit 45; fi
folder=${path%/*}
[ -d "$folder" ] || mkdir -p -- "$folder"
temporary=$(mktemp -- "$folder/.trueup.XXXXXX")
trap 'rm -f -- "$temporary"' EXIT
trap 'exit 129' HUP INT TERM PIPE
cat > "$temporary"
if [ "$(hash "$temporary")" != "$new" ]; then echo "the new content did not arrive whole" >&2; exit 46; fi
chown -- "$owner:$group" "$temporary"
chmod -- "$mode" "$temporary"
if [ -e "$path" ] && command -v chcon >/dev/null 2>&1; then chcon --reference="$path" -- "$temporary" 2>/dev/null || :; fi
if [ $# -gt 0 ]; then
    # The place of the new file is the word %s of the check.
    n=$#
    while [ "$n" -gt 0 ]; do
        word=$1; shift
        case $word in *%s*) word="${word%%\%s*}$temporary${word#*%s}";; esac
        set -- "$@" "$word"
        n=$((n - 1))
    done
    "$@" >&2 || { echo "the check refused the new file" >&2; exit 47; }
fi
sync "$temporary" 2>/dev/null || sync
mv -f -- "$temporary" "$path"
sync "$folder" 2>/dev/null || sync
"#;

/// Removes a file that is still ours.
const REMOVE: &str = r#"
set -eu
[ -e "$1" ] || exit 0
if [ "$(sha256sum "$1" | cut -d' ' -f1)" != "$2" ]; then echo "the file has changed meanwhile" >&2; exit 45; fi
rm -f -- "$1"
"#;

/// Writes a kernel setting and reads it back: the kernel clamps some values without an error.
const SYSCTL: &str = r#"
set -eu
printf '%s\n' "$2" > "$1"
now=$(cat -- "$1")
[ "$now" = "$2" ] || { echo "the kernel holds $now" >&2; exit 48; }
"#;

impl<T: Transport> Remote<T> {
    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.request.root.as_deref().unwrap_or_default())
    }

    /// `sh -c script` with words and standard input: the script is ours and constant, everything else
    /// is a quoted word or standard input.
    fn shell(&self, script: &str, words: &[&str], stdin: Vec<u8>) -> Cmd {
        let mut argv = vec!["sh", "-c", script, "trueup"];
        argv.extend(words);
        Cmd::new(argv).with_stdin(stdin).becoming(self.request.r#become)
    }

    /// A command of the host; with a root, its own programs come first.
    fn command(&self, argv: &[String]) -> Cmd {
        let cmd = match &self.request.root {
            None => Cmd::new(argv.iter().cloned()),
            Some(root) => {
                let path =
                    format!("PATH={root}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
                let prefix = ["env".to_owned(), path, format!("TRUEUP_ROOT={root}")];
                Cmd::new(prefix.into_iter().chain(argv.iter().cloned()))
            }
        };
        cmd.becoming(self.request.r#become)
    }

    async fn done(&self, cmd: &Cmd, what: &str) -> Result<Output, HostError> {
        let output = self.transport.run(cmd).await?;
        if output.success() { Ok(output) } else { Err(failed(what, &output)) }
    }
}

fn failed(what: &str, output: &Output) -> HostError {
    let text = String::from_utf8_lossy(&output.stderr);
    let message =
        text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message").trim().to_owned();
    HostError::CommandFailed { command: what.to_owned(), status: output.status, message }
}

impl<T: Transport + 'static> Site for Remote<T> {
    async fn probe(&self) -> Result<Facts, HostError> {
        probe::probe(&self.transport, &self.request).await
    }

    async fn read(&self, path: &str) -> Result<Option<Saved>, HostError> {
        let what = format!("read {path}");
        let output = self.transport.run(&self.shell(READ, &[&self.path(path)], Vec::new())).await?;
        match output.status {
            0 => parse_saved(&output.stdout).map(Some).ok_or(HostError::Malformed { message: what }),
            44 => Ok(None),
            _ => Err(failed(&what, &output)),
        }
    }

    async fn write(&self, write: &Write) -> Result<(), HostError> {
        let path = self.path(&write.path);
        let cmd = match (&write.file, &write.expected) {
            (None, None) => return Ok(()),
            (None, Some(expected)) => self.shell(REMOVE, &[&path, expected], Vec::new()),
            (Some(file), expected) => {
                let mode = format!("{:o}", file.mode);
                let new = content::sha256(&file.bytes);
                let expected = expected.as_deref().unwrap_or("none");
                let mut words = vec![path.as_str(), &mode, &file.owner, &file.group, expected, &new];
                words.extend(write.validate.iter().flatten().map(String::as_str));
                self.shell(WRITE, &words, file.bytes.clone())
            }
        };
        self.done(&cmd, &format!("write {}", write.path)).await.map(drop)
    }

    async fn act(&self, action: &Action) -> Result<(), HostError> {
        let systemctl = |words: &[&str], unit: &str| {
            let mut argv = vec!["systemctl".to_owned()];
            argv.extend(words.iter().map(|word| (*word).to_owned()));
            argv.push(unit.to_owned());
            argv
        };
        match action {
            Action::SetSysctl { key, value, .. } => {
                let path = self.path(&format!("/proc/sys/{}", key.replace('.', "/")));
                self.done(&self.shell(SYSCTL, &[&path, value], Vec::new()), &format!("set {key}")).await?;
            }
            Action::SetUnit { unit, enabled, running } => {
                let words = enabled.map(|yes| if yes { "enable" } else { "disable" });
                let more = running.map(|yes| if yes { "start" } else { "stop" });
                for word in words.into_iter().chain(more) {
                    self.done(&self.command(&systemctl(&[word], unit)), &format!("systemctl {word} {unit}"))
                        .await?;
                }
            }
            Action::Run { argv } => {
                self.done(&self.command(argv), &argv.join(" ")).await?;
            }
            Action::Restart(restart) => {
                let cmd = self.command(&restart.argv).within(self.restart_deadline);
                self.done(&cmd, &restart.argv.join(" ")).await?;
            }
            Action::WriteFile { .. } | Action::SetOptions { .. } => {
                unreachable!("files are written by `write`")
            }
        }
        Ok(())
    }
}

fn parse_saved(stdout: &[u8]) -> Option<Saved> {
    let end = stdout.iter().position(|byte| *byte == b'\n')?;
    let head = std::str::from_utf8(&stdout[..end]).ok()?;
    let mut words = head.split(' ');
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    let owner = words.next()?.to_owned();
    let group = words.next()?.to_owned();
    Some(Saved { bytes: stdout[end + 1..].to_vec(), mode, owner, group })
}
