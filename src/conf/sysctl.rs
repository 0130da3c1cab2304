//! sysctl.d: the value the next boot gives a key, and the value `sysctl --system` gives it, which can
//! differ.
//!
//! Rules from the programs themselves (systemd 252 `sysctl.c`, procps 4.0.2 `sysctl.c`), replayed against
//! both in `tests/sysctl/cases.json`:
//! - the `*.conf` of four folders, sorted by file name; of equal names the folder listed first counts;
//! - systemd-sysctl does not read `/etc/sysctl.conf` unless a link in a folder points to it, procps reads it
//!   last; systemd ignores files that begin with a dot, procps does not;
//! - `a.b` and `a/b` are one key; `-key = value` sets it, `-key` alone takes it out of patterns;
//! - a key given by name is never set by a pattern, wherever either stands;
//! - systemd keeps one value a key and forgets the earlier ones, procps writes all in order, so that after a
//!   value that the kernel refuses the earlier one stays.

use regex::Regex;

/// The folders, those that count first in front.
pub const FOLDERS: [&str; 4] =
    ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"];

/// The file that only procps reads by itself.
pub const SYSCTL_CONF: &str = "/etc/sysctl.conf";

/// Which program applies the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// systemd-sysctl.service: the next boot.
    Systemd,
    /// procps's `sysctl --system`: what people and tools run.
    Procps,
}

/// A file of a folder, or `/etc/sysctl.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile<'a> {
    /// Absolute path.
    pub path: &'a str,
    /// Its content, that of its target for a link; `None` when it could not be read.
    pub content: Option<&'a str>,
    /// Where it points to, if it is a link. `/dev/null` masks the files of the same name.
    pub link: Option<&'a str>,
}

/// What the files say about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This line decides.
    Set(Setting),
    /// No line sets it, or none whose value the kernel takes: the value stays what it was.
    Unset,
    /// This file could not be read, and it may decide.
    Unknown {
        /// Its path.
        path: String,
    },
}

/// A line that sets a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The value as written, outer blanks removed.
    pub value: String,
    /// The file.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
}

/// What `program` makes of `files` for `key` (dotted or with slashes). The order of `files` does not matter.
pub fn outcome(program: Program, files: &[SourceFile<'_>], key: &str) -> Outcome {
    let key = normalize(key);
    let mut options: Vec<Line> = Vec::new();
    let mut unread = None;
    for file in in_order(program, files) {
        match (file.content, file.link) {
            (_, Some("/dev/null")) => {}
            (Some(content), _) => options.extend(lines(program, file.path, content)),
            (None, _) => {
                unread.get_or_insert((options.len(), file.path));
            }
        }
    }
    let named = options.iter().rposition(|line| line.key == key);
    if let Some((at, path)) = unread
        && !named.is_some_and(|named| named >= at && options[named].value.is_some())
    {
        return Outcome::Unknown { path: path.to_owned() };
    }
    let options = if program == Program::Systemd { last_of_each(options) } else { options };
    // procps compares the text for this: doubled or leading slashes make it another key.
    let by_name = options.iter().any(|line| match program {
        Program::Systemd => line.key == key,
        Program::Procps => line.written == key,
    });
    let writes = options.iter().filter(|line| line.key == key || (!by_name && line.matches(program, &key)));
    let taken = writes.rev().find_map(|line| {
        let value = line.value.as_deref().filter(|value| accepted(&key, value))?;
        Some(Setting { value: value.to_owned(), path: line.path.clone(), line: line.number })
    });
    taken.map_or(Outcome::Unset, Outcome::Set)
}

/// The boot value (systemd-sysctl).
pub fn boot(files: &[SourceFile<'_>], key: &str) -> Outcome {
    outcome(Program::Systemd, files, key)
}

/// The value after `sysctl --system` (procps).
pub fn procps(files: &[SourceFile<'_>], key: &str) -> Outcome {
    outcome(Program::Procps, files, key)
}

/// The files `program` reads, in its order: by name, and of equal names the one of the first folder.
fn in_order<'f, 'a>(program: Program, files: &'f [SourceFile<'a>]) -> Vec<&'f SourceFile<'a>> {
    let mut chosen: Vec<(&str, usize, &SourceFile<'_>)> = files
        .iter()
        .filter_map(|file| {
            let (folder, name) = file.path.rsplit_once('/')?;
            let rank = FOLDERS.iter().position(|known| *known == folder)?;
            name.strip_suffix(".conf").filter(|_| program == Program::Procps || !name.starts_with('.'))?;
            Some((name, rank, file))
        })
        .collect();
    chosen.sort_by_key(|(name, rank, _)| (*name, *rank));
    chosen.dedup_by_key(|(name, _, _)| *name);
    let last = files.iter().filter(|file| program == Program::Procps && file.path == SYSCTL_CONF);
    chosen.into_iter().map(|(_, _, file)| file).chain(last).collect()
}

/// An assignment, or an exclusion (no value).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// With slashes.
    key: String,
    /// The same with every slash that was written.
    written: String,
    value: Option<String>,
    path: String,
    number: usize,
}

impl Line {
    fn matches(&self, program: Program, key: &str) -> bool {
        let glob = || glob(program, &self.key);
        self.value.is_some() && is_glob(&self.key) && glob().is_some_and(|glob| glob.is_match(key))
    }
}

fn lines(program: Program, path: &str, content: &str) -> Vec<Line> {
    let parse = |(index, raw): (usize, &str)| {
        let line = raw.trim_matches([' ', '\t', '\r', '\n']);
        if line.is_empty() || line.starts_with(['#', ';']) {
            return None;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key.strip_prefix('-').unwrap_or(key), Some(value.trim().to_owned())),
            None => (line.strip_prefix('-')?, None),
        };
        // procps keeps a blank behind the dash, and then there is no such key.
        let key = if program == Program::Systemd { key.trim() } else { key.trim_end() };
        let written = with_slashes(key);
        Some(Line { key: simplify(&written), written, value, path: path.to_owned(), number: index + 1 })
    };
    match program {
        // A lone carriage return ends a line, too.
        Program::Systemd => {
            let content = content.replace("\r\n", "\n").replace('\r', "\n");
            content.split('\n').enumerate().filter_map(parse).collect()
        }
        Program::Procps => content.split('\n').enumerate().filter_map(parse).collect(),
    }
}

/// systemd's table of options: one entry a key; the same value again stays where it was, another moves to
/// the end.
fn last_of_each(lines: Vec<Line>) -> Vec<Line> {
    let mut kept: Vec<Line> = Vec::new();
    for line in lines {
        if let Some(at) = kept.iter().position(|old| old.key == line.key) {
            if kept[at].value == line.value {
                continue;
            }
            kept.remove(at);
        }
        kept.push(line);
    }
    kept
}

fn normalize(key: &str) -> String {
    simplify(&with_slashes(key))
}

/// Where the first separator is a dot, dots and slashes change places (`sysctl_normalize`).
fn with_slashes(key: &str) -> String {
    let swap = key.find(['.', '/']).is_some_and(|at| key[at..].starts_with('.'));
    let swapped = key.chars().map(|c| match c {
        '.' if swap => '/',
        '/' if swap => '.',
        c => c,
    });
    swapped.collect()
}

/// Without doubled and leading slashes.
fn simplify(key: &str) -> String {
    key.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

fn is_glob(key: &str) -> bool {
    key.contains(['*', '?', '['])
}

/// glob(7): `*` and `?` stop at a slash, `[…]` is a set; systemd also knows `{a,b}`. `None` for a pattern
/// that can match nothing.
fn glob(program: Program, pattern: &str) -> Option<Regex> {
    let braces = program == Program::Systemd && pattern.matches('{').count() == pattern.matches('}').count();
    let mut depth = 0;
    let mut expression = String::from("^");
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            '[' => match rest.as_str().get(1..).and_then(|tail| tail.find(']')) {
                Some(end) => {
                    let set = &rest.as_str()[..=end];
                    let (not, set) = set.strip_prefix(['!', '^']).map_or(("", set), |set| ("^", set));
                    let set = set.replace('\\', "\\\\").replace('[', "\\[").replace('&', "\\&");
                    expression.extend(["[", not, &set, "]"]);
                    rest = rest.as_str()[end + 2..].chars();
                }
                None => expression.push_str("\\["),
            },
            '{' if braces => {
                depth += 1;
                expression.push_str("(?:");
            }
            ',' if depth > 0 => expression.push('|'),
            '}' if depth > 0 => {
                depth -= 1;
                expression.push(')');
            }
            c => expression.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    expression.push('$');
    Regex::new(&expression).ok()
}

/// Keys that the kernel keeps in one byte (`net/ipv4/sysctl_net_ipv4.c`, `proc_dou8vec_minmax`).
const BYTES: [&str; 2] = ["net/ipv4/tcp_retries2", "net/ipv4/tcp_keepalive_probes"];
/// Keys that hold seconds (`proc_dointvec_jiffies`).
const SECONDS: [&str; 2] = ["net/ipv4/tcp_keepalive_time", "net/ipv4/tcp_keepalive_intvl"];

/// Whether the kernel takes `value`; of keys it is not known for, whether there is one at all.
fn accepted(key: &str, value: &str) -> bool {
    if BYTES.contains(&key) {
        integer(value).is_some_and(|number| (0..=255).contains(&number))
    } else if SECONDS.contains(&key) {
        // Kept in ticks, of which there are at most 1000 a second.
        integer(value).is_some_and(|number| number.abs() <= i64::from(i32::MAX) / 1000)
    } else {
        !value.is_empty()
    }
}

/// The number the kernel reads from `value` (`kernel/sysctl.c`, `proc_get_long`): `0x` and a leading `0` are
/// hexadecimal and octal, and what follows a blank is not looked at. `None` where the write fails.
pub fn integer(value: &str) -> Option<i64> {
    // `proc_wspace_sep`; a carriage return is none of them.
    let word = value.trim_ascii_start().split([' ', '\t', '\n']).next().filter(|word| !word.is_empty())?;
    let (negative, digits) = word.strip_prefix('-').map_or((false, word), |digits| (true, digits));
    let magnitude = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        plain_digits(hex, 16)?
    } else if digits.len() > 1 && digits.starts_with('0') {
        plain_digits(digits, 8)?
    } else {
        plain_digits(digits, 10)?
    };
    let number = if negative { -magnitude } else { magnitude };
    i32::try_from(number).ok().map(i64::from)
}

fn plain_digits(digits: &str, radix: u32) -> Option<i64> {
    digits.chars().all(|c| c.is_digit(radix)).then(|| i64::from_str_radix(digits, radix).ok()).flatten()
}

/// Whether two texts are one value for the kernel: equal numbers, or equal words.
pub fn same_value(a: &str, b: &str) -> bool {
    let one_word = [a, b].iter().any(|text| text.split_ascii_whitespace().count() == 1);
    match (integer(a), integer(b)) {
        // A single number on one side: of the other side only the first word counts.
        (Some(a), Some(b)) if one_word => a == b,
        _ => a.split_ascii_whitespace().eq(b.split_ascii_whitespace()),
    }
}
