//! What a RabbitMQ node reads from its files.
//!
//! Which files, and who wins (`rabbit_env.erl`, `rabbit_prelaunch_conf.erl`, v4.3):
//! - the main file is `/etc/rabbitmq/rabbitmq` with `.config` (Erlang terms) or, when that is absent,
//!   `.conf`; with `.config` neither rabbitmq.conf nor advanced.config is read;
//! - then `conf.d/*.conf`, sorted; a later file wins key by key (`cuttlefish_conf:files`). conf.d exists
//!   since 3.8.4 (its release notes);
//! - then advanced.config, whose `{rabbit, [{Key, Value}]}` **replaces** the whole value of `Key`
//!   (`cuttlefish_advanced:overlay`): a `tcp_listen_options` there makes every `tcp_listen_options.*` of
//!   the .conf files void;
//! - any `tcp_listen_options` at all replaces the default list (`deps/rabbit/Makefile`), so what it does
//!   not name is lost.

pub mod advanced;
pub mod conf;
mod listen;
mod paths;
mod setting;

use std::collections::BTreeMap;
use std::fmt;

pub use listen::Listen;
pub use paths::{ENV_FILE, Paths, env_file, locate};
pub use setting::setting;

use advanced::{Node, Term};
use conf::Setting;

/// conf.d is read since this release.
pub const CONF_D_SINCE: [u32; 3] = [3, 8, 4];

/// Files by absolute path: what there is, and `None` for what is there and could not be read.
pub type Files<'a> = BTreeMap<&'a str, Option<&'a str>>;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody sets it: the node's default.
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: String,
        /// Line, from 1.
        line: usize,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default of RabbitMQ"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
        }
    }
}

/// A value, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub source: Source,
}

/// A value, or why it is not known.
pub type Known<T> = Result<Answer<T>, String>;

/// What the files of a node say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Seconds; 0 is off. 60 by default.
    pub heartbeat: Known<i64>,
    /// Options of the AMQP listeners.
    pub listen: Result<Listen, String>,
    /// `ignore`, `pause_minority`, `autoheal` or `pause_if_all_down`; without effect since 4.3.
    pub cluster_partition_handling: Known<String>,
    /// As written: a share of memory, a size; `absolute` beats `relative`.
    pub vm_memory_high_watermark: Known<String>,
    /// As written: a size, or a multiple of memory; `absolute` beats `relative`.
    pub disk_free_limit: Known<String>,
}

/// What the node reads from `files`, given where it looks.
///
/// Add a file of one's own to `files` to see whether it would win: the answers' sources say so.
pub fn effective(paths: &Paths, files: &Files<'_>) -> Effective {
    let (settings, terms) = match (paths.settings(files), paths.terms(files)) {
        (Ok(settings), Ok(terms)) => (settings, terms),
        (Err(reason), _) | (_, Err(reason)) => {
            return Effective {
                heartbeat: Err(reason.clone()),
                listen: Err(reason.clone()),
                cluster_partition_handling: Err(reason.clone()),
                vm_memory_high_watermark: Err(reason.clone()),
                disk_free_limit: Err(reason),
            };
        }
    };
    let read = Read { settings, terms };
    Effective {
        heartbeat: read.heartbeat(),
        listen: Listen::read(&read),
        cluster_partition_handling: read.text("cluster_partition_handling", &[], "ignore"),
        vm_memory_high_watermark: read.text("vm_memory_high_watermark", &[".relative", ".absolute"], "0.6"),
        disk_free_limit: read.text("disk_free_limit", &[".relative", ".absolute"], "50000000"),
    }
}

/// Settings by key, each with the file it is in, and the terms that override them.
struct Read {
    settings: BTreeMap<String, (String, Setting)>,
    terms: Option<(String, Node)>,
}

impl Read {
    /// The value of `{rabbit, [{key, Value}]}`.
    fn advanced(&self, key: &str) -> Option<(&str, &Node)> {
        let (path, terms) = self.terms.as_ref()?;
        let applications = terms.list()?.iter().filter_map(|node| node.tagged("rabbit")?.first()?.list());
        let mut values = applications.flatten().filter_map(|node| node.tagged(key)?.first());
        Some((path.as_str(), values.next_back()?))
    }

    fn source(path: &str, line: usize) -> Source {
        Source::File { path: path.to_owned(), line }
    }

    fn heartbeat(&self) -> Known<i64> {
        if let Some((path, node)) = self.advanced("heartbeat") {
            let source = Self::source(path, node.line);
            return match node.term {
                Term::Int(value) => Ok(Answer { value, source }),
                _ => Err(format!("`heartbeat` is no number at {source}")),
            };
        }
        let Some((path, setting)) = self.settings.get("heartbeat") else {
            return Ok(Answer { value: 60, source: Source::Default });
        };
        integer(path, setting)
    }

    /// A value kept as text: of `key` itself, or of the last of its `endings` that is set.
    fn text(&self, key: &str, endings: &[&str], default: &str) -> Known<String> {
        if let Some((path, node)) = self.advanced(key) {
            let source = Self::source(path, node.line);
            return match term_text(&node.term) {
                Some(value) => Ok(Answer { value, source }),
                None => Err(format!("`{key}` at {source} is of no known form")),
            };
        }
        let names =
            std::iter::once(key.to_owned()).chain(endings.iter().map(|ending| format!("{key}{ending}")));
        Ok(match names.rev().find_map(|name| self.settings.get(&name)) {
            Some((path, setting)) => {
                Answer { value: setting.value.clone(), source: Self::source(path, setting.line) }
            }
            None => Answer { value: default.to_owned(), source: Source::Default },
        })
    }
}

/// cuttlefish's `integer`.
fn integer(path: &str, setting: &Setting) -> Known<i64> {
    let source = Read::source(path, setting.line);
    match setting.value.parse() {
        Ok(value) => Ok(Answer { value, source }),
        Err(_) => Err(format!("`{}` is no number at {source}, so the node does not start", setting.key)),
    }
}

/// cuttlefish's booleans.
fn boolean(path: &str, setting: &Setting) -> Known<Option<bool>> {
    let source = Read::source(path, setting.line);
    match setting.value.as_str() {
        "true" => Ok(Answer { value: Some(true), source }),
        "false" => Ok(Answer { value: Some(false), source }),
        _ => Err(format!(
            "`{}` is neither true nor false at {source}, so the node does not start",
            setting.key
        )),
    }
}

/// `{absolute, "1GB"}` and the like as text.
fn term_text(term: &Term) -> Option<String> {
    match term {
        Term::Atom(text) | Term::Text(text) => Some(text.clone()),
        Term::Int(number) => Some(number.to_string()),
        Term::Float(number) => Some(number.to_string()),
        Term::Tuple(nodes) => match nodes.as_slice() {
            [Node { term: Term::Atom(name), .. }, value]
                if ["absolute", "relative"].contains(&name.as_str()) =>
            {
                term_text(&value.term)
            }
            // `{mem_relative, 1.0}`, `{pause_if_all_down, Nodes, autoheal}`.
            [Node { term: Term::Atom(name), .. }, rest @ ..] => {
                let rest = rest.iter().filter_map(|node| term_text(&node.term));
                Some(std::iter::once(name.clone()).chain(rest).collect::<Vec<_>>().join(" "))
            }
            _ => None,
        },
        Term::Binary(_) | Term::List(_) | Term::Other => None,
    }
}
