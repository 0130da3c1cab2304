//! minijinja's errors as diagnostics: what, where, and never a variable's value.

use minijinja::{Error, ErrorKind};

use super::Scope;
use crate::error::{Diagnostic, Place, nearest};
use crate::playbook::Source;

/// Where the template of an error was written.
pub(super) enum Origin<'a> {
    /// A template file.
    File(&'a Source),
    /// A string of the playbook.
    Scalar {
        /// Where the string stands.
        place: &'a Place,
        /// The string.
        text: &'a str,
    },
    /// A variable's value.
    Variable {
        /// Its name, with the path within it.
        name: &'a str,
        /// Where it stands, when it comes from the playbook.
        place: Option<&'a Place>,
        /// Its template.
        text: &'a str,
    },
}

/// Filters of ansible-core 2.19 and Jinja 3.1 that are not here.
const FOREIGN_FILTERS: &[&str] = &[
    "checksum",
    "combinations",
    "commonpath",
    "expanduser",
    "expandvars",
    "fileglob",
    "filesizeformat",
    "forceescape",
    "from_yaml_all",
    "human_readable",
    "human_to_bytes",
    "log",
    "md5",
    "normpath",
    "password_hash",
    "permutations",
    "pow",
    "product",
    "random",
    "realpath",
    "rekey_on_member",
    "relpath",
    "root",
    "sha1",
    "shuffle",
    "strftime",
    "striptags",
    "subelements",
    "to_datetime",
    "to_uuid",
    "truncate",
    "unvault",
    "urldecode",
    "urlize",
    "urlsplit",
    "vault",
    "win_basename",
    "win_dirname",
    "win_splitdrive",
    "wordcount",
    "wordwrap",
    "xmlattr",
    "zip_longest",
];

/// Tests of ansible-core 2.19 that are not here: they ask for the result of a task, or for local files.
const FOREIGN_TESTS: &[&str] = &[
    "abs",
    "change",
    "changed",
    "directory",
    "exists",
    "failed",
    "failure",
    "file",
    "finished",
    "is_abs",
    "is_dir",
    "is_file",
    "is_link",
    "is_mount",
    "is_same_file",
    "link",
    "link_exists",
    "mount",
    "reachable",
    "same_file",
    "skip",
    "skipped",
    "started",
    "succeeded",
    "success",
    "successful",
    "timedout",
    "unreachable",
    "uri",
    "url",
    "urn",
    "vault_encrypted",
    "vaulted_file",
];

/// Functions of Ansible's templates that are not here.
const FOREIGN_FUNCTIONS: &[&str] = &["now", "undef", "lipsum", "cycler", "joiner"];

/// The diagnostic of an error in the template of `origin`; `inner` is that of a variable's own template,
/// which ended the rendering.
pub(super) fn diagnose(
    error: &Error,
    origin: &Origin<'_>,
    scope: &Scope,
    inner: Option<Diagnostic>,
) -> Diagnostic {
    let error = innermost(error);
    let undefined = undefined_name(error);
    // A variable that is there and whose own template is at fault.
    let inner = inner.or_else(|| match (undefined.as_deref(), origin) {
        (Some(name), _) => scope.reason(name),
        (None, Origin::Variable { name, .. }) => scope.reason(name),
        _ => None,
    });
    let is_inner = inner.is_some();
    let mut diagnostic = inner.unwrap_or_else(|| describe(error, undefined.as_deref(), scope));
    if let (Origin::Variable { name, place: None, .. }, false) = (origin, is_inner) {
        diagnostic =
            diagnostic.hint(format!("it is used by the variable `{name}` of host `{}`", scope.host()));
    }
    match place(error, origin, scope) {
        Some(place) => diagnostic.at(place),
        None => diagnostic,
    }
}

/// The error within an included or imported template, where that is the cause.
fn innermost(error: &Error) -> &Error {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<Error>());
    match cause {
        Some(cause) if error.kind() == ErrorKind::BadInclude => innermost(cause),
        _ => error,
    }
}

fn describe(error: &Error, undefined: Option<&str>, scope: &Scope) -> Diagnostic {
    let detail = error.detail().unwrap_or_default();
    let quoted = |what: &str| {
        detail.split_whitespace().find(|word| !["filter", "test"].contains(word)).map_or_else(
            || what.to_owned(),
            |word| word.trim_matches(|c: char| c == '`' || c == '\'' || c == '"').to_owned(),
        )
    };
    match error.kind() {
        ErrorKind::UndefinedError => {
            let host = scope.host();
            let Some(name) = undefined else {
                return Diagnostic::new(format!("an undefined value is used for host `{host}`"));
            };
            let diagnostic = Diagnostic::new(format!("`{name}` is undefined for host `{host}`"));
            let root = name.split(['.', '[']).next().unwrap_or(name);
            let names: Vec<&str> = scope.names().collect();
            if names.contains(&root) {
                return diagnostic.hint("give it a default with `| default(…)` where it may be missing");
            }
            match nearest(root, &names) {
                Some(best) => diagnostic.hint(format!("did you mean `{best}`?")),
                None if root.starts_with("ansible_") => {
                    diagnostic.hint("Ansible's facts are not available in templates; set it in the inventory")
                }
                None => {
                    diagnostic.hint(format!("set it under `vars`, in the inventory, or with `-e {root}=…`"))
                }
            }
        }
        ErrorKind::SyntaxError => Diagnostic::new(format!("template: {detail}")),
        ErrorKind::UnknownFilter => foreign("filter", &quoted("?"), FOREIGN_FILTERS, super::filters::NAMES),
        ErrorKind::UnknownTest => foreign("test", &quoted("?"), FOREIGN_TESTS, super::predicates::NAMES),
        ErrorKind::UnknownFunction => {
            foreign("function", &quoted("?"), FOREIGN_FUNCTIONS, super::functions::NAMES)
        }
        ErrorKind::OutOfFuel => Diagnostic::new("template: it does not come to an end"),
        _ if detail.is_empty() => Diagnostic::new(format!("template: {}", error.kind())),
        _ => Diagnostic::new(format!("template: {detail}")),
    }
}

fn foreign(what: &str, name: &str, foreign: &[&str], known: &[&str]) -> Diagnostic {
    if foreign.contains(&name) {
        return Diagnostic::new(format!("template: the {what} `{name}` of Ansible is not supported"));
    }
    let diagnostic = Diagnostic::new(format!("template: unknown {what} `{name}`"));
    match nearest(name, known) {
        Some(best) => diagnostic.hint(format!("did you mean `{best}`?")),
        None => diagnostic,
    }
}

/// The expression that was undefined, as the template writes it.
fn undefined_name(error: &Error) -> Option<String> {
    if error.kind() != ErrorKind::UndefinedError {
        return None;
    }
    if let Some(detail) = error.detail() {
        let end = detail.find("` is undefined")?;
        let start = detail[..end].rfind('`').map_or(0, |at| at + 1);
        return Some(detail[start..end].to_owned());
    }
    let source = error.template_source()?;
    let name = source.get(error.range()?)?.trim();
    let plain = |c: char| c.is_alphanumeric() || "._[]'\"".contains(c);
    (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
}

fn place(error: &Error, origin: &Origin<'_>, scope: &Scope) -> Option<Place> {
    let in_text = |source: &Source| {
        let range = error.range();
        let (line, column, length) = match &range {
            Some(range) => position(&source.text, range.start, range.end),
            None => return Place::line(&source.path, &source.text, error.line().unwrap_or(1)),
        };
        Place::new(&source.path, &source.text, line, column, length)
    };
    match origin {
        Origin::File(source) => {
            let included = error.name().filter(|name| *name != source.path).and_then(|name| scope.file(name));
            Some(in_text(included.unwrap_or(source)))
        }
        Origin::Scalar { place, text } => Some(within(place, text, error)),
        Origin::Variable { place, text, .. } => place.map(|place| within(place, text, error)),
    }
}

/// The place of the error within a string of the playbook, when it stands there as it is; else the
/// whole string's.
fn within(place: &Place, text: &str, error: &Error) -> Place {
    let same_source = error.template_source() == Some(text);
    let Some(range) = error.range().filter(|_| same_source && !text.contains('\n')) else {
        return place.clone();
    };
    let from: usize = place.text.chars().take(place.column - 1).map(char::len_utf8).sum();
    let Some(at) = place.text.get(from..).and_then(|rest| rest.find(text)) else { return place.clone() };
    let (_, column, length) = position(&place.text, from + at + range.start, from + at + range.end);
    Place { column, length, ..place.clone() }
}

/// Line, column and length in characters of a range of bytes; the length ends with the line.
fn position(text: &str, start: usize, end: usize) -> (usize, usize, usize) {
    let before = text.get(..start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before[line_start..].chars().count() + 1;
    let length = text.get(start..end).unwrap_or_default().lines().next().unwrap_or_default().chars().count();
    (before.matches('\n').count() + 1, column, length.max(1))
}

/// Whether strict rendering failed at a lookup within something undefined that ends in a filter or
/// test that allows it.
pub(super) fn is_forgiven_chain(error: &Error, text: &str) -> bool {
    if error.kind() != ErrorKind::UndefinedError {
        return false;
    }
    let source = error.template_source().unwrap_or(text);
    let Some(mut rest) = error.range().and_then(|range| source.get(range.end..)) else { return false };
    // The failing lookup may be in the middle of the chain.
    loop {
        rest = rest.trim_start();
        if let Some(tail) = rest.strip_prefix('.') {
            rest = tail.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        } else if let Some(tail) = rest.strip_prefix('[') {
            let Some((_, tail)) = tail.split_once(']') else { return false };
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix(')') {
            rest = tail;
        } else {
            break;
        }
    }
    let mut words =
        rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '|')).filter(|w| !w.is_empty());
    let first = words.next().unwrap_or_default();
    if let Some(filter) = first.strip_prefix('|') {
        let filter = if filter.is_empty() { words.next().unwrap_or_default() } else { filter };
        return matches!(filter, "default" | "d" | "mandatory");
    }
    let second = words.next().unwrap_or_default();
    let test = if second == "not" { words.next().unwrap_or_default() } else { second };
    first == "is" && matches!(test, "defined" | "undefined")
}
