//! The answer of the script, cut into frames.

use regex::bytes::Regex;

use crate::error::HostError;

/// One part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// What it is: `file`, `units`, `tar`…
    pub name: &'a str,
    /// What it is about: a path, or two words.
    pub about: String,
    /// Its bytes.
    pub body: &'a [u8],
    /// The exit code of the command that gave it, where the script says so.
    pub status: Option<i32>,
}

impl Frame<'_> {
    /// The body as text, what is not UTF-8 replaced.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(self.body).into_owned()
    }

    /// `about` as two words.
    pub(super) fn words(&self) -> (&str, &str) {
        self.about.split_once(' ').unwrap_or((&self.about, ""))
    }
}

/// Cuts `answer` at every line that starts with `token`. What comes before the first one (the greeting of
/// a login shell) is left out. An answer without its last frame was cut off on the way.
pub(super) fn frames<'a>(answer: &'a [u8], token: &str) -> Result<Vec<Frame<'a>>, HostError> {
    let head = Regex::new(&format!(r"(?-u)\n{token} ([a-z_]+) ([^\n]*)\n")).expect("a token is letters");
    let heads: Vec<_> = head.captures_iter(answer).collect();
    let mut frames: Vec<Frame<'a>> = Vec::new();
    for (number, captures) in heads.iter().enumerate() {
        let whole = captures.get(0).expect("group 0 always takes part");
        let end = heads.get(number + 1).map_or(answer.len(), |next| next.get(0).map_or(0, |m| m.start()));
        let name = std::str::from_utf8(captures.get(1).map_or(&[], |m| m.as_bytes())).unwrap_or_default();
        let about = String::from_utf8_lossy(captures.get(2).map_or(&[], |m| m.as_bytes())).into_owned();
        // The script always writes two arguments, so one alone is followed by one space.
        let about = about.strip_suffix(' ').unwrap_or(&about).to_owned();
        if name == "status" {
            if let Some(of) = frames.last_mut() {
                of.status = about.trim().parse().ok();
            }
            continue;
        }
        // Two frames may share the line break between them.
        let body = answer.get(whole.end()..end).unwrap_or_default();
        frames.push(Frame { name, about, body, status: None });
    }
    match (frames.first(), frames.last()) {
        (Some(first), Some(last)) if first.name == "begin" && last.name == "end" => Ok(frames),
        (Some(_), _) => Err(HostError::Malformed { message: "the facts end in the middle".to_owned() }),
        _ => Err(HostError::Malformed { message: "no facts in the answer".to_owned() }),
    }
}
