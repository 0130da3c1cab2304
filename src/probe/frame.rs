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
    let last = heads.last().and_then(|head| head.get(0)).map_or(0, |head| head.start());
    let mut frames: Vec<Frame<'a>> = Vec::new();
    for (number, captures) in heads.iter().enumerate() {
        let whole = captures.get(0).expect("group 0 always takes part");
        let end = heads.get(number + 1).map_or(answer.len(), |next| next.get(0).map_or(0, |m| m.start()));
        let name = std::str::from_utf8(captures.get(1).map_or(&[], |m| m.as_bytes())).unwrap_or_default();
        let about = String::from_utf8_lossy(captures.get(2).map_or(&[], |m| m.as_bytes())).into_owned();
        // The script always writes two arguments, so one alone is followed by one space.
        let about = about.strip_suffix(' ').unwrap_or(&about).to_owned();
        // Files come last, and whatever they hold belongs to them.
        if frames.last().is_some_and(|last| last.name == "tar") && number + 1 < heads.len() {
            continue;
        }
        let end = if name == "tar" { last } else { end };
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

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "0123456789abcdef";

    /// Name, subject, body, exit code.
    type Plain<'a> = (&'a str, &'a str, &'a str, Option<i32>);

    fn check(answer: &str, expected: Result<&[Plain<'_>], &str>) {
        let found = frames(answer.as_bytes(), T);
        let found = found.as_ref().map(|frames| {
            let plain =
                |frame: &Frame<'_>| (frame.name.to_owned(), frame.about.clone(), frame.text(), frame.status);
            frames.iter().map(plain).collect::<Vec<_>>()
        });
        let expected = expected
            .map(|frames| {
                frames.iter().map(|f| (f.0.into(), f.1.into(), f.2.into(), f.3)).collect::<Vec<_>>()
            })
            .map_err(str::to_owned);
        assert_eq!(found.map_err(ToString::to_string), expected, "{answer:?}");
    }

    #[test]
    fn an_answer_is_cut_at_its_marks() {
        check("", Err("unexpected answer: no facts in the answer"));
        check("Welcome!\n", Err("unexpected answer: no facts in the answer"));
        check(&format!("\n{T} begin  \n0\n"), Err("unexpected answer: the facts end in the middle"));
        check(&format!("\n{T} end  \n"), Err("unexpected answer: the facts end in the middle"));
        check(
            &format!("Welcome!\n\n{T} begin  \n0\nctl1\n\n{T} link /a b \n../x\n{T} end  \n"),
            Ok(&[("begin", "", "0\nctl1\n", None), ("link", "/a b", "../x", None), ("end", "", "", None)]),
        );
        check(
            &format!(
                "\n{T} begin  \n\n{T} rabbit x \nno\n\n{T} status 69\n\n{T} inside 7 docker:1\n\n{T} end  \n"
            ),
            Ok(&[
                ("begin", "", "", None),
                ("rabbit", "x", "no\n", Some(69)),
                ("inside", "7 docker:1", "", None),
                ("end", "", "", None),
            ]),
        );
        let inner = format!("a\n{T} end  \n\n{T} status 1\nb");
        check(
            &format!("\n{T} begin  \n\n{T} tar  \n{inner}\n{T} end  \n"),
            Ok(&[("begin", "", "", None), ("tar", "", &inner, None), ("end", "", "", None)]),
        );
    }
}
