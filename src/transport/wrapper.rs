//! The shell text round every command: marks where the command's own output begins, feeds it its
//! standard input, and ends it when nobody listens any more. Pure; the only place that spells sudo.
//!
//! # Why a wrapper
//! sshd does not end a command when its connection or its channel goes away: without a terminal it
//! only closes the pipes (OpenSSH `session.c`, `session_close_by_channel`). A `sleep` goes on. So
//! standard input stays open after the command's input has been sent, and a watchdog on the host
//! reads it: its end means that the caller gave up, died, or lost the connection, and the watchdog
//! ends the process group, first with TERM and a second later with KILL. It runs as the same user
//! as the command, because the login user may not signal a root process. A host that has lost its
//! network, without any end of file, is covered by `timeout`: the command does not outlive its
//! deadline by more than [`GRACE`]. The same holds for a command that hangs before it has read an
//! input larger than a pipe (64 KiB): the watchdog sees no end that is queued behind that input.
//!
//! # What it does, in order
//! 1. writes [`BEGIN`] on both outputs, so that sudo's words, a login shell's greetings and the
//!    command's own output are told apart, and "sudo refused" from "the command failed";
//! 2. passes on exactly as many bytes as the command's input has, then waits for one line. When it
//!    does not come the input was cut off, and the command is ended without ever seeing an end of
//!    file: half a file is never taken for a whole one;
//! 3. exits with the command's exit code.

use std::time::Duration;

use secrecy::SecretString;

use crate::cmd::{Cmd, quote};
use crate::error::HostError;

/// Begins the command's own output, on standard output and on standard error.
pub const BEGIN: &str = "trueup:begin:5c1f09";

/// sudo's prompt: short and unlike anything that sudo or a PAM module says by itself.
pub const PROMPT: &str = "trueup:password:5c1f09:";

/// How much longer than the caller the host itself waits before it ends a command.
pub const GRACE: Duration = Duration::from_secs(10);

/// Stays free of `!`, of backslashes and of line breaks, which csh changes even inside quotes.
const SCRIPT: &str = concat!(
    "echo \"$1\"; echo \"$1\" >&2; n=$2 d=$3; shift 3; exec 3<&0 4>&2 2>/dev/null; ",
    // The watchdog: its pid, the input, the line that says the input is whole, then silence.
    "{ exec 4>&-; sh -c 'echo $PPID'; [ $n = 0 ] || timeout $d head -c $n <&3; ",
    "read -r z <&3 && { exec >/dev/null; timeout $d cat <&3; }; ",
    "trap '' HUP TERM; kill -TERM 0; sleep 1; kill -KILL 0; } | ",
    "{ exec 3<&-; read -r w; (exec \"$@\" 2>&4 4>&-); s=$?; kill -KILL $w; exit $s; }"
);

/// Whom a command runs as, when it is not the login user.
#[derive(Debug, Clone)]
pub struct Become {
    /// The program: `sudo`.
    pub exe: String,
    /// Further flags.
    pub flags: Vec<String>,
    /// The user.
    pub user: String,
    /// What sudo is told when it asks; without it, sudo is asked not to ask.
    pub password: Option<SecretString>,
}

/// The line for the login shell that runs `cmd`, as `r#become` if given.
///
/// `LC_ALL=C` because sudo's refusals and the programs' answers are read by machine.
pub fn line(cmd: &Cmd, r#become: Option<&Become>, deadline: Duration) -> String {
    let mut words: Vec<&str> = vec!["exec", "env", "LC_ALL=C"];
    if let Some(sudo) = r#become {
        words.push(&sudo.exe);
        words.extend(sudo.flags.iter().map(String::as_str));
        if sudo.password.is_some() {
            words.extend(["-S", "-p", PROMPT]);
        } else {
            words.push("-n");
        }
        words.extend(["-u", &sudo.user, "--"]);
    }
    let length = cmd.stdin.len().to_string();
    let seconds = (deadline + GRACE).as_secs().to_string();
    words.extend(["sh", "-c", SCRIPT, "trueup", BEGIN, &length, &seconds]);
    words.extend(cmd.argv.iter().map(String::as_str));
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// `stream` split at its [`BEGIN`] line: what came before, and the command's own output.
pub fn split(stream: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = find(stream, BEGIN.as_bytes())?;
    let rest = &stream[at + BEGIN.len()..];
    Some((&stream[..at], rest.strip_prefix(b"\n").unwrap_or(rest)))
}

/// What sudo waits for, from what it has written to standard error so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Sudo {
    /// Nothing yet.
    Silent,
    /// It asks for the password, for the first time.
    Asks,
    /// It asks again: the password was wrong.
    AsksAgain,
    /// The command has begun.
    Begun,
}

/// See [`Sudo`].
pub fn listen(stderr: &[u8]) -> Sudo {
    if find(stderr, BEGIN.as_bytes()).is_some() {
        return Sudo::Begun;
    }
    match find(stderr, PROMPT.as_bytes()) {
        None => Sudo::Silent,
        Some(at) => match find(&stderr[at + PROMPT.len()..], PROMPT.as_bytes()) {
            None => Sudo::Asks,
            Some(_) => Sudo::AsksAgain,
        },
    }
}

/// Why sudo did not run the command, from its own words.
///
/// The texts are those of sudo 1.8 to 1.9 (`plugins/sudoers/logging.c`, `src/tgetpass.c`).
pub fn refusal(stderr: &[u8]) -> HostError {
    let text = String::from_utf8_lossy(stderr).replace(PROMPT, "");
    let wants = [
        "a password is required",
        "a terminal is required",
        "no tty present and no askpass program",
        "no password was provided",
        "incorrect password attempt",
        "Sorry, try again",
        "incorrect authentication attempt",
    ];
    if wants.iter().any(|phrase| text.contains(phrase)) {
        return HostError::SudoPassword;
    }
    // The first complaint is the reason ("error initializing audit plugin" follows "unknown user"),
    // and a remark about the administrator is none.
    let said = text.lines().map(str::trim).filter(|line| !line.starts_with("This incident"));
    let reason = said
        .clone()
        .find(|line| line.starts_with("sudo: "))
        .or_else(|| said.clone().rfind(|l| !l.is_empty()));
    let message = reason.unwrap_or("it said nothing").trim_start_matches("sudo: ").to_owned();
    HostError::SudoRefused { message }
}

/// The last line that says something.
pub fn last_line(text: &str) -> &str {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing")
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sudo(password: Option<&str>) -> Become {
        Become {
            exe: "sudo".into(),
            flags: vec!["-H".into()],
            user: "o'ps".into(),
            password: password.map(SecretString::from),
        }
    }

    #[test]
    fn the_line_names_the_user_and_never_the_password() {
        let minute = Duration::from_mins(1);
        let cmd = Cmd::new(["cat", "a b"]).with_stdin("12345");
        let plain = line(&cmd, None, minute);
        assert!(plain.starts_with("exec env LC_ALL=C sh -c 'echo "), "{plain}");
        assert!(plain.ends_with(&format!("trueup {BEGIN} 5 70 cat 'a b'")), "{plain}");
        let quiet = line(&cmd, Some(&sudo(None)), minute);
        assert!(quiet.contains(r"LC_ALL=C sudo -H -n -u 'o'\''ps' -- sh -c"), "{quiet}");
        let asked = line(&cmd, Some(&sudo(Some("hunter2"))), minute);
        assert!(asked.contains(&format!("sudo -H -S -p {PROMPT} -u")), "{asked}");
        assert!(!asked.contains("hunter2"));
    }

    #[test]
    fn the_script_survives_every_login_shell() {
        assert!(!SCRIPT.contains(['!', '\n', '\\']), "csh changes these even inside single quotes");
    }

    #[test]
    fn output_begins_after_the_mark() {
        let marked = format!("motd\n{BEGIN}\nyes\n{BEGIN}\n");
        let (before, own) = split(marked.as_bytes()).unwrap();
        assert_eq!((before, own), (&b"motd\n"[..], format!("yes\n{BEGIN}\n").as_bytes()));
        assert_eq!(split(b"This account is currently not available.\n"), None);
    }

    #[test]
    fn sudo_is_heard() {
        for (stderr, expected) in [
            (String::new(), Sudo::Silent),
            ("We trust you have received the usual lecture\n".into(), Sudo::Silent),
            (PROMPT.into(), Sudo::Asks),
            (format!("lecture\n{PROMPT}"), Sudo::Asks),
            (format!("{PROMPT}Sorry, try again.\n{PROMPT}"), Sudo::AsksAgain),
            (format!("{PROMPT}{BEGIN}\n"), Sudo::Begun),
            (format!("{BEGIN}\n{PROMPT}"), Sudo::Begun),
        ] {
            assert_eq!(listen(stderr.as_bytes()), expected, "{stderr}");
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_missing_password() {
        let refused = |message: &str| HostError::SudoRefused { message: message.to_owned() };
        for (stderr, expected) in [
            ("sudo: a password is required\n", HostError::SudoPassword),
            ("sudo: no tty present and no askpass program specified\n", HostError::SudoPassword),
            (
                "Sorry, try again.\nsudo: no password was provided\nsudo: 1 incorrect password attempt\n",
                HostError::SudoPassword,
            ),
            ("sudo: 3 incorrect password attempts\n", HostError::SudoPassword),
            (
                "sudo: a terminal is required to read the password; either use the -S option\nsudo: a password is required\n",
                HostError::SudoPassword,
            ),
            ("ops is not in the sudoers file.\n", refused("ops is not in the sudoers file.")),
            (
                "lecture\nops is not in the sudoers file.\nThis incident has been reported to the administrator.\n",
                refused("ops is not in the sudoers file."),
            ),
            (
                "Sorry, user ops is not allowed to execute '/bin/sh' as root on ctl1.\n",
                refused("Sorry, user ops is not allowed to execute '/bin/sh' as root on ctl1."),
            ),
            (
                "sudo: unknown user nobody2\nsudo: error initializing audit plugin sudoers_audit\n",
                refused("unknown user nobody2"),
            ),
            (
                "sudo: sorry, you must have a tty to run sudo\n",
                refused("sorry, you must have a tty to run sudo"),
            ),
            ("env: 'sudo': No such file or directory\n", refused("env: 'sudo': No such file or directory")),
            ("", refused("it said nothing")),
        ] {
            assert_eq!(refusal(stderr.as_bytes()), expected, "{stderr}");
        }
    }
}
