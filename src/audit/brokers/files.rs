//! The settings of RabbitMQ's files that detection depends on.

use std::sync::LazyLock;

use regex::Regex;

use super::Placed;
use crate::audit::{Evidence, is_older};
use crate::facts::{Facts, FileFact, Reading};
use crate::service::Running;

/// A setting and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The value.
    pub value: String,
    /// `path:line`
    pub source: String,
}

/// A file that the broker reads.
#[derive(Debug, Clone, Copy)]
struct File<'a> {
    path: &'a str,
    fact: &'a FileFact,
}

/// The broker's files, in reading order: `rabbitmq.conf`, `conf.d`, and `advanced.config`, which overrules
/// them; before 3.7, `rabbitmq.config`.
#[derive(Debug)]
pub struct Files<'a> {
    plain: Vec<File<'a>>,
    terms: Vec<File<'a>>,
}

impl<'a> Files<'a> {
    /// The files of a broker.
    ///
    /// # Errors
    /// Which of them could not be read, and why.
    pub fn of(facts: &'a Facts, broker: Option<&Running>) -> Result<Self, String> {
        let prefix = match broker.and_then(|broker| broker.container.as_deref()) {
            Some(container) => format!("container:{container}:"),
            None => String::new(),
        };
        let mut files = Self { plain: Vec::new(), terms: Vec::new() };
        for (key, reading) in &facts.files {
            let Some(path) = key.strip_prefix(&prefix).filter(|path| path.starts_with("/etc/rabbitmq/"))
            else {
                continue;
            };
            let name = &path["/etc/rabbitmq/".len()..];
            let is_plain = name == "rabbitmq.conf"
                || name.strip_prefix("conf.d/").is_some_and(|name| name.strip_suffix(".conf").is_some());
            let is_terms = matches!(name, "advanced.config" | "rabbitmq.config");
            if !is_plain && !is_terms {
                continue;
            }
            let fact = match reading {
                Reading::Known(fact) => fact,
                Reading::Absent => continue,
                Reading::Unknown(reason) => return Err(format!("{path}: {reason}")),
            };
            let list = if is_plain { &mut files.plain } else { &mut files.terms };
            list.push(File { path, fact });
        }
        // `conf.d/` sorts before `rabbitmq.conf` and is read after it.
        files.plain.sort_by_key(|file| (file.path.contains("/conf.d/"), file.path));
        Ok(files)
    }

    /// Was any file changed after the broker started?
    pub fn changed_after_start(&self, broker: &Running) -> bool {
        self.plain.iter().chain(&self.terms).any(|file| is_older(broker, file.fact.modified_at))
    }

    /// Every file and when it was changed.
    pub fn changed(&self) -> Vec<(&'a str, i64)> {
        self.plain.iter().chain(&self.terms).map(|file| (file.path, file.fact.modified_at)).collect()
    }

    /// Does this release read drop-ins? Since 3.8.4, and not beside a main file in Erlang terms.
    pub fn reads_drop_ins(&self, version: &str) -> bool {
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        (next(), next(), next()) >= (3, 8, 4)
    }

    /// The file that is the broker's main one.
    pub fn main_file(&self) -> &'a str {
        let terms = self.terms.iter().find(|file| file.path.ends_with("/rabbitmq.config"));
        terms.map_or("/etc/rabbitmq/rabbitmq.conf", |file| file.path)
    }

    /// `tcp_listen_options` in Erlang terms.
    pub fn listen_options_in_terms(&self) -> Option<Found> {
        static LIST: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"\b(tcp_listen_options)\b").expect("fixed"));
        self.in_terms(&LIST)
    }

    /// The last plain line whose key begins so.
    pub fn any_plain(&self, prefix: &str) -> Option<Found> {
        self.lines().filter(|(key, _)| key.starts_with(prefix)).map(|(_, found)| found).last()
    }

    /// The last line that sets a key of the plain format.
    pub fn plain(&self, key: &str) -> Option<Found> {
        self.lines().filter(|(name, _)| *name == key).map(|(_, found)| found).last()
    }

    /// Every `key = value` of the plain files, in reading order.
    fn lines(&self) -> impl Iterator<Item = (&'a str, Found)> {
        let lines = self.plain.iter().flat_map(|file| {
            file.fact.content.lines().enumerate().map(move |(at, line)| (file.path, at + 1, line))
        });
        lines.filter(|(_, _, line)| !line.trim_start().starts_with('#')).filter_map(|(path, at, line)| {
            let (name, value) = line.split_once('=')?;
            Some((name.trim(), Found { value: value.trim().to_owned(), source: format!("{path}:{at}") }))
        })
    }

    /// The value of a key: in the Erlang terms, which win, or the plain files.
    pub fn effective(&self, key: &str) -> Option<Found> {
        let pattern =
            Regex::new(&format!(r"\{{\s*{}\s*,\s*(\w+)\s*\}}", regex::escape(key))).expect("a fixed form");
        self.in_terms(&pattern).or_else(|| self.plain(key))
    }

    /// Do listeners ask for keepalive? `tcp_listen_options` in Erlang terms replaces the whole list.
    pub fn listener_keepalive(&self) -> Placed<bool> {
        static KEEPALIVE: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"\{\s*keepalive\s*,\s*(true|false)\s*\}").expect("fixed"));
        let placed =
            |value, source: String, text: String| Placed { value, evidence: Evidence { source, text } };
        if let Some(list) = self.listen_options_in_terms() {
            return match self.in_terms(&KEEPALIVE) {
                Some(found) => {
                    placed(found.value == "true", found.source, format!("{{keepalive, {}}}", found.value))
                }
                None => placed(false, list.source, "tcp_listen_options without keepalive".to_owned()),
            };
        }
        match self.plain("tcp_listen_options.keepalive") {
            Some(found) => {
                let text = format!("tcp_listen_options.keepalive = {}", found.value);
                placed(matches!(found.value.as_str(), "true" | "on"), found.source, text)
            }
            None => placed(false, "default of RabbitMQ".to_owned(), "listeners have no keepalive".to_owned()),
        }
    }

    /// `TCP_USER_TIMEOUT` as a raw socket option, in seconds: `{raw, 6, 18, <<5000:64/native>>}`.
    pub fn user_timeout(&self) -> Option<Placed<f64>> {
        static RAW: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"\{\s*raw\s*,\s*6\s*,\s*18\s*,\s*<<\s*(\d+)\s*:\s*\d+").expect("fixed")
        });
        let found = self.in_terms(&RAW)?;
        let milliseconds: f64 = found.value.parse().ok()?;
        let evidence = Evidence { source: found.source, text: format!("TCP_USER_TIMEOUT {milliseconds} ms") };
        Some(Placed { value: milliseconds / 1000.0, evidence })
    }

    fn in_terms(&self, pattern: &Regex) -> Option<Found> {
        self.terms.iter().find_map(|file| {
            // A `%` starts a comment; none of what is looked for holds one.
            let text: String = file
                .fact
                .content
                .lines()
                .map(|line| format!("{}\n", line.split('%').next().unwrap_or_default()))
                .collect();
            let found = pattern.captures(&text)?.get(1)?;
            let line = text[..found.start()].matches('\n').count() + 1;
            Some(Found { value: found.as_str().to_owned(), source: format!("{}:{line}", file.path) })
        })
    }
}
