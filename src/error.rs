//! What can go wrong, in two kinds that never mix.
//!
//! - A **bad input** (inventory, playbook, template, command line) is a [`Diagnostic`]: it ends the
//!   run before any host is touched, and shows file, line, caret and a hint.
//! - A **bad host** is a [`HostError`]: it is data, it goes into the report, and the other hosts go on.
//!
//! A bug is a panic. [`Exit`] is the one list of exit codes.

use std::fmt;
use std::process::ExitCode;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::{Deserialize, Serialize};

/// Result of reading what the user gave us.
pub type Result<T> = std::result::Result<T, Diagnostic>;

/// A place in a text: where a [`Diagnostic`] points to.
///
/// It owns the line it points into, so that no error carries the lifetime of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name as the user knows it.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters the caret underlines (at least one is drawn).
    pub length: usize,
    /// The text of that line, without its line ending.
    pub text: String,
}

impl Place {
    /// The place of `line:column` (both from 1) in `source`, the whole text of `path`.
    pub fn new(path: impl Into<String>, source: &str, line: usize, column: usize, length: usize) -> Self {
        let text =
            source.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim_end_matches('\r').to_owned();
        Self { path: path.into(), line, column, length, text }
    }

    /// A whole line of `source`, underlined from its first to its last visible character.
    pub fn line(path: impl Into<String>, source: &str, line: usize) -> Self {
        let mut place = Self::new(path, source, line, 1, 1);
        let lead = place.text.chars().take_while(|c| c.is_whitespace()).count();
        place.column = lead + 1;
        place.length = place.text.trim().chars().count();
        place
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path, self.line, self.column)
    }
}

/// A mistake in what the user gave us: message, place, and a hint that can be acted on.
///
/// Messages are lowercase fragments without a full stop, with backticks round what the user typed.
/// `Display` is the message alone; [`Diagnostic::render`] draws it with its place and hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic(Box<Parts>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    message: String,
    place: Option<Place>,
    label: Option<String>,
    hints: Vec<String>,
}

impl Diagnostic {
    /// An error with this message, and no place yet.
    pub fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Parts { message: message.into(), place: None, label: None, hints: Vec::new() }))
    }

    /// Says where; the innermost place wins, so a caller can add one without looking.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.0.place.get_or_insert(place);
        self
    }

    /// A few words beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.0.label = Some(label.into());
        self
    }

    /// What to do about it: a command to paste, or the spelling that was probably meant.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// A hint `did you mean …?` when one of `known` is close to `typed`; else the list of them.
    #[must_use]
    pub fn suggest<'a>(self, typed: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match nearest(typed, &known) {
            Some(best) => self.hint(format!("did you mean `{best}`?")),
            None if known.is_empty() => self,
            None => self.hint(format!("known: {}", known.join(", "))),
        }
    }

    /// The message alone.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where, if a place is known.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    /// The hints, in order.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// The error as a person reads it: message, source line with caret, hints.
    pub fn render(&self, colour: bool) -> String {
        self.render_as(Rank::Error, colour)
    }

    /// The same as a warning, where it did not stop the run.
    pub fn render_as(&self, rank: Rank, colour: bool) -> String {
        let parts = &self.0;
        let level = match rank {
            Rank::Error => Level::ERROR,
            Rank::Warning => Level::WARNING,
        };
        let mut group =
            level.primary_title(&parts.message).elements(Vec::<annotate_snippets::Message<'_>>::new());
        if let Some(place) = &parts.place {
            let start = byte_of(&place.text, place.column);
            let end = byte_of(&place.text, place.column + place.length.max(1)).max(start);
            let mut annotation = AnnotationKind::Primary.span(start..end);
            if let Some(label) = &parts.label {
                annotation = annotation.label(label.as_str());
            }
            group = group.element(
                Snippet::source(place.text.as_str())
                    .path(place.path.as_str())
                    .line_start(place.line)
                    .annotation(annotation),
            );
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = renderer.render(&[group]).clone();
        for hint in &parts.hints {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        text
    }
}

/// Whether a [`Diagnostic`] stopped the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// It did.
    Error,
    /// It did not.
    Warning,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Diagnostic {}

fn byte_of(text: &str, column: usize) -> usize {
    text.char_indices().nth(column.saturating_sub(1)).map_or(text.len(), |(at, _)| at)
}

/// The entry of `known` that `typed` was probably meant to be: at most a third of its letters differ.
pub fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (distance(typed, candidate), *candidate))
        .filter(|(far, candidate)| *far <= candidate.chars().count().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Why nothing, or not enough, could be learned from or done on one host. Data, never the end of a run.
///
/// `Display` is the cause in a few words; [`HostError::hint`] says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum HostError {
    /// The address is a name that does not resolve.
    #[error("the name `{address}` does not resolve")]
    NameNotResolved {
        /// The name that was looked up.
        address: String,
    },
    /// The port answered with a reset.
    #[error("connection to `{address}` port {port} refused")]
    Refused {
        /// Where.
        address: String,
        /// TCP port.
        port: u16,
    },
    /// Nothing answered within the connect timeout.
    #[error("no connection to `{address}` within {seconds} s")]
    ConnectTimeout {
        /// Where.
        address: String,
        /// The limit, in seconds.
        seconds: u64,
    },
    /// Strict checking is on and the key is in no known_hosts file.
    #[error("the host key of `{address}` is unknown")]
    HostKeyUnknown {
        /// Where.
        address: String,
        /// TCP port, 22 where ssh chose it.
        port: u16,
    },
    /// The key differs from the recorded one.
    #[error("the host key of `{address}` has CHANGED")]
    HostKeyChanged {
        /// Where.
        address: String,
        /// TCP port, 22 where ssh chose it.
        port: u16,
    },
    /// The server refused every key or the password.
    #[error("authentication as `{user}` failed")]
    Authentication {
        /// The remote user tried (empty: ssh's own default).
        user: String,
    },
    /// sudo wants a password and none, or a wrong one, was given.
    #[error("sudo wants a password")]
    SudoPassword,
    /// sudo does not allow it at all.
    #[error("sudo refused: {message}")]
    SudoRefused {
        /// sudo's own words.
        message: String,
    },
    /// The host accepted and then did not finish in time.
    #[error("no answer within {seconds} s while {doing}")]
    Deadline {
        /// The limit, in seconds.
        seconds: u64,
        /// What was under way.
        doing: String,
    },
    /// The connection ended in the middle.
    #[error("the connection was lost while {doing}")]
    Disconnected {
        /// What was under way.
        doing: String,
    },
    /// A command ended badly.
    #[error("`{command}` exited {status}: {message}")]
    CommandFailed {
        /// The command's first words; never its standard input.
        command: String,
        /// Its exit code (128 + n for a signal).
        status: i32,
        /// The last line it wrote to standard error.
        message: String,
    },
    /// The answer is not of the expected form.
    #[error("unexpected answer: {message}")]
    Malformed {
        /// What did not fit.
        message: String,
    },
    /// Another run holds the host.
    #[error("run `{run}` of {who} holds this host since {since}; {}", last_sign(*seen, *alive))]
    Held {
        /// Its id.
        run: String,
        /// Who runs it, `user@machine (pid n)`.
        who: String,
        /// When it began, by the host's clock, RFC 3339.
        since: String,
        /// Seconds since its last sign of life; `None`: the host was booted since.
        seen: Option<u64>,
        /// Is its lease not over?
        alive: bool,
    },
    /// The run is no longer open on the host: it was put back, by its failsafe as a rule.
    #[error("run `{run}` is no longer open on this host ({standing}): the host has put itself back")]
    NotOpen {
        /// Its id.
        run: String,
        /// How it stands.
        standing: String,
    },
    /// Somebody else has taken the run over.
    #[error("{who} has taken run `{run}` over")]
    TakenOver {
        /// Its id.
        run: String,
        /// Who.
        who: String,
    },
    /// The answer to the beginning of a run was lost, and the host can neither be asked again nor given back.
    #[error("{reason}; whether the run has begun there is not known, nothing else was changed")]
    Unanswered {
        /// The run's id.
        run: String,
        /// What became of the connection.
        reason: String,
        /// After how many seconds without a sign of life the host frees itself; `None`: it does not.
        lease: Option<u64>,
    },
    /// The host cannot put itself back when the run dies.
    #[error("no failsafe: {reason}")]
    NoFailsafe {
        /// Why not.
        reason: String,
    },
    /// A restart that the host's plan needs is not safe now; nothing was changed.
    #[error("{reason}")]
    NotSafe {
        /// What is in the way, and what a person can do.
        reason: String,
    },
    /// The host is not what the plan is based on.
    #[error("`{}` has changed since the plan was made; plan again", paths.join("`, `"))]
    Stale {
        /// The files that differ.
        paths: Vec<String>,
    },
    /// The user interrupted the run.
    #[error("interrupted")]
    Interrupted,
    /// ssh said something that is none of the above.
    #[error("{message}")]
    Ssh {
        /// ssh's own last words.
        message: String,
    },
}

fn last_sign(seen: Option<u64>, alive: bool) -> String {
    match (seen, alive) {
        (Some(seconds), true) => format!("its last sign of life was {seconds} s ago"),
        (Some(seconds), false) => format!("it has died: its last sign of life was {seconds} s ago"),
        (None, _) => "it has died: the host was booted since its last sign of life".to_owned(),
    }
}

impl HostError {
    /// What to do about it, with a command to paste where there is one; `None` where the message says all.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NameNotResolved { address } => {
                format!("try `getent hosts {address}`; `ansible_host` in the inventory gives another address")
            }
            Self::Refused { address, port } => format!(
                "does sshd run there? `ssh -v -p {port} {address}` shows; `ansible_port` gives another port"
            ),
            Self::ConnectTimeout { address, .. } => {
                format!("is the host up, and no firewall before it? `ssh -v {address}` shows; -T waits longer")
            }
            Self::HostKeyUnknown { address, port } => format!(
                "`ssh-keyscan -p {port} {address} >> ~/.ssh/known_hosts`, once you have compared the key with the host's own"
            ),
            Self::HostKeyChanged { address, port } => {
                let known = if *port == 22 { address.clone() } else { format!("[{address}]:{port}") };
                format!(
                    "if the host was installed anew: `ssh-keygen -R '{known}'`, then record its new key; if not, somebody may be in between"
                )
            }
            Self::Authentication { user } => {
                let to = if user.is_empty() { "HOST".to_owned() } else { format!("{user}@HOST") };
                format!("`ssh-copy-id {to}`, or --private-key FILE, -u USER, or -k to be asked for a password")
            }
            Self::SudoPassword => {
                "-K asks for it; `ansible_become_password` in a vault keeps it; NOPASSWD in sudoers needs none"
                    .to_owned()
            }
            Self::SudoRefused { .. } => {
                "`sudo -l` on the host says what this user may do; -u USER logs in as another".to_owned()
            }
            Self::Deadline { .. } => {
                "the host accepts and does not finish: look at its load and disks; --host-deadline waits longer"
                    .to_owned()
            }
            Self::Disconnected { .. } => {
                "run it again: nothing is left half done; `journalctl -u ssh` on the host may say why".to_owned()
            }
            Self::Held { alive: true, .. } => {
                "wait for its end; `trueup runs` lists what is under way".to_owned()
            }
            Self::Held { run, .. } | Self::NotOpen { run, .. } => {
                format!("`trueup resume {run}` finishes it, `trueup rollback {run}` puts the host back")
            }
            Self::Unanswered { lease: Some(seconds), .. } => format!(
                "if it has, the host frees itself {seconds} s after it last heard of the run; no other run can begin there before"
            ),
            Self::Unanswered { run, lease: None, .. } => {
                format!("if it has, `trueup rollback {run}` frees the host when it can be reached again")
            }
            Self::NoFailsafe { .. } => {
                "--no-failsafe goes without: the host then stays half changed when this run dies".to_owned()
            }
            Self::Interrupted
            | Self::TakenOver { .. }
            | Self::Stale { .. }
            | Self::NotSafe { .. }
            | Self::CommandFailed { .. }
            | Self::Malformed { .. }
            | Self::Ssh { .. } => return None,
        };
        Some(text)
    }

    /// Is it a matter of the network, which may be over in a moment?
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::ConnectTimeout { .. }
                | Self::Deadline { .. }
                | Self::Disconnected { .. }
        )
    }
}

/// Exit codes; the worst wins in the order 1, 3, 4, 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: compliant, or applied and verified.
    Compliant,
    /// 1: the tool could not do its job (usage, bad input).
    Broken,
    /// 2: findings, drift or pending changes.
    Findings,
    /// 3: apply or verify failed on a host; the report says whether it was rolled back.
    Failed,
    /// 4: a host could not be reached.
    Unreachable,
    /// 130: interrupted.
    Interrupted,
}

impl Exit {
    /// The number the process exits with.
    pub fn code(self) -> u8 {
        match self {
            Self::Compliant => 0,
            Self::Broken => 1,
            Self::Findings => 2,
            Self::Failed => 3,
            Self::Unreachable => 4,
            Self::Interrupted => 130,
        }
    }

    /// The worse of two.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        let rank = |exit| match exit {
            Self::Interrupted => 5,
            Self::Broken => 4,
            Self::Failed => 3,
            Self::Unreachable => 2,
            Self::Findings => 1,
            Self::Compliant => 0,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_line_with_a_caret_and_a_hint() {
        let source = "[a]\nctl1 ansible_prot=22\n";
        let error = Diagnostic::new("unknown variable `ansible_prot`")
            .at(Place::new("hosts", source, 2, 6, 12))
            .suggest("ansible_prot", ["ansible_port", "ansible_host"]);
        let text = error.render(false);
        assert!(text.contains("hosts:2:6"), "{text}");
        assert!(text.contains("^^^^^^^^^^^^"), "{text}");
        assert!(text.ends_with("hint: did you mean `ansible_port`?"), "{text}");
    }

    #[test]
    fn the_worst_exit_wins() {
        use Exit::{Broken, Compliant, Failed, Findings, Unreachable};
        assert_eq!(Findings.worst(Unreachable), Unreachable);
        assert_eq!(Unreachable.worst(Failed), Failed);
        assert_eq!(Broken.worst(Failed), Broken);
        assert_eq!(Compliant.worst(Findings), Findings);
    }
}
