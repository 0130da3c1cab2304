//! Questions to the person in front: passwords, and whether to go on.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use secrecy::SecretString;

use crate::error::{Diagnostic, Result};

/// Asks for a password without showing it; from standard input where that is not a terminal.
pub fn password(question: &str) -> Result<SecretString> {
    if std::io::stdin().is_terminal() {
        return dialoguer::Password::new()
            .with_prompt(question)
            .allow_empty_password(true)
            .interact()
            .map(SecretString::from)
            .map_err(|error| Diagnostic::new(format!("no password was given: {error}")));
    }
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    match read {
        Ok(0) => Err(Diagnostic::new(format!(
            "no password was given for `{question}`: standard input is at its end"
        ))),
        Ok(_) => Ok(SecretString::from(line.trim_end_matches(['\r', '\n']).to_owned())),
        Err(error) => Err(Diagnostic::new(format!("no password was given: {error}"))),
    }
}

/// Asks whether to go on; only `yes` and `y` do. Off a terminal nobody can answer, which is an error with this hint.
pub fn confirm(question: &str, hint: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Diagnostic::new("nobody can be asked: standard input is not a terminal").hint(hint));
    }
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Diagnostic::new(format!("the answer could not be read: {error}")))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
