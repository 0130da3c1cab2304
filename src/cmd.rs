//! A command for a host: what to run, what to feed it, and whether as root.
//!
//! [`Cmd`] is the only way anything reaches a host, and [`quote`] the only place where a word is
//! made safe for a remote shell.

use std::time::Duration;

/// One command. It is run by the remote login shell, every word quoted.
#[derive(Clone, PartialEq, Eq)]
pub struct Cmd {
    /// Program and arguments. Never a secret: other users of the host can see them.
    pub argv: Vec<String>,
    /// What its standard input holds; secrets go here.
    pub stdin: Vec<u8>,
    /// Run as root (or the become user) by sudo.
    pub r#become: bool,
    /// How long it may take; the transport's own deadline when `None`.
    pub deadline: Option<Duration>,
}

impl Cmd {
    /// `argv`, with empty standard input, as the login user.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            stdin: Vec::new(),
            r#become: false,
            deadline: None,
        }
    }

    /// `sh -s -- words…` reading `script` from its standard input, so that the script's text is not
    /// visible to other users and needs no quoting.
    pub fn script<S: Into<String>>(script: impl Into<Vec<u8>>, words: impl IntoIterator<Item = S>) -> Self {
        let mut argv = vec!["sh".to_owned(), "-s".to_owned(), "--".to_owned()];
        argv.extend(words.into_iter().map(Into::into));
        Self { argv, stdin: script.into(), r#become: false, deadline: None }
    }

    /// The same as root.
    #[must_use]
    pub fn becoming(mut self, yes: bool) -> Self {
        self.r#become = yes;
        self
    }

    /// The same with standard input.
    #[must_use]
    pub fn with_stdin(mut self, stdin: impl Into<Vec<u8>>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// The same with a deadline of its own.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The command line for a POSIX shell.
    pub fn shell_line(&self) -> String {
        self.argv.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
    }
}

/// Standard input may hold secrets, so it is never shown.
impl std::fmt::Debug for Cmd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cmd")
            .field("argv", &self.argv)
            .field("stdin", &format_args!("{} bytes", self.stdin.len()))
            .field("become", &self.r#become)
            .finish_non_exhaustive()
    }
}

/// What a command answered.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Exit code; 128 + n when signal n ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Exit code 0?
    pub fn success(&self) -> bool {
        self.status == 0
    }
}

/// Outputs hold the hosts' files, so only sizes are shown.
impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Output(status {}, {} + {} bytes)", self.status, self.stdout.len(), self.stderr.len())
    }
}

/// `word` as one word for a POSIX shell.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('\'');
    for c in word.chars() {
        if c == '\'' {
            quoted.push_str(r"'\''");
        } else {
            quoted.push(c);
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_survives_a_real_shell() {
        for word in
            ["", "plain", "two words", "it's", "$(id)", "`id`", "a\nb", "!", "\\", "\"", "*", "~", "a;b"]
        {
            let line = Cmd::new(["printf", "%s", word]).shell_line();
            let out = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
            assert_eq!(String::from_utf8(out.stdout).unwrap(), word, "{line}");
        }
    }
}
