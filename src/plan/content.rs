//! The bytes a file holds after an action: the one place where plan, apply and prediction agree.

use crate::conf::oslo;
use crate::plan::Action;

/// What the file of `action` holds afterwards, given what it holds before (`None`: no file).
///
/// # Errors
/// A few words on why it cannot be edited safely. An action that changes no file has no content:
/// asking for it is a bug in the caller.
pub fn after(action: &Action, before: Option<&[u8]>) -> Result<Vec<u8>, String> {
    match action {
        Action::WriteFile { content, .. } => Ok(content.clone().into_bytes()),
        Action::SetOptions { path, options } => {
            let mut bytes = before.ok_or_else(|| format!("`{path}` does not exist"))?.to_vec();
            for option in options {
                let deprecated: Vec<(&str, &str)> =
                    option.deprecated.iter().map(|(group, key)| (group.as_str(), key.as_str())).collect();
                bytes = oslo::set(path, &bytes, &option.group, &option.key, &option.value, &deprecated)
                    .map_err(|refusal| refusal.to_string())?
                    .bytes;
            }
            Ok(bytes)
        }
        Action::SetSysctl { .. } | Action::SetUnit { .. } | Action::Run { .. } | Action::Restart(_) => {
            unreachable!("an action without a file has no content")
        }
    }
}

/// The file an action changes, if it changes one.
pub fn path(action: &Action) -> Option<&str> {
    match action {
        Action::WriteFile { path, .. } | Action::SetOptions { path, .. } => Some(path),
        Action::SetSysctl { .. } | Action::SetUnit { .. } | Action::Run { .. } | Action::Restart(_) => None,
    }
}

/// SHA-256 in lower-case hexadecimal, as facts and plans hold it.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}

/// A unified diff of one file with three lines of context; empty when nothing changes.
pub fn unified(path: &str, before: &str, after: &str) -> String {
    if before == after {
        return String::new();
    }
    similar::TextDiff::from_lines(before, after)
        .unified_diff()
        .context_radius(3)
        .header(&format!("{path} (now)"), &format!("{path} (then)"))
        .to_string()
}
