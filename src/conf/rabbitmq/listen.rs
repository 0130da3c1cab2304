//! `tcp_listen_options`, which replace the default list as a whole.

use super::advanced::{Node, Term};
use super::{Answer, Read, Source, boolean, integer};

/// Options of a listener. `None`: the list does not name it, so the listener does not set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Where the list is set; the default when nobody sets one.
    pub source: Source,
    /// `SO_KEEPALIVE` on accepted connections. Not among the defaults.
    pub keepalive: Answer<Option<bool>>,
    /// Length of the accept queue. 128 by default.
    pub backlog: Answer<Option<i64>>,
    /// `TCP_NODELAY`. On by default.
    pub nodelay: Answer<Option<bool>>,
    /// `SO_LINGER`: whether, and for how many seconds. `(true, 0)` by default.
    pub linger: Answer<Option<(bool, i64)>>,
    /// Whether a socket is closed at once when the client closes its half. Off by default.
    pub exit_on_close: Answer<Option<bool>>,
    /// `TCP_USER_TIMEOUT` in milliseconds, from `{raw, 6, 18, <<5000:64/native>>}`; there is no key for it
    /// in rabbitmq.conf.
    pub user_timeout: Answer<Option<i64>>,
    /// Defaults that the list replaced without naming them.
    pub lost: Vec<&'static str>,
}

impl Listen {
    /// The list of `deps/rabbit/Makefile`, the same from 3.7 to 4.3.
    fn defaults() -> Self {
        let mut listen = Self::replaced(&Source::Default);
        listen.backlog.value = Some(128);
        listen.nodelay.value = Some(true);
        listen.linger.value = Some((true, 0));
        listen.exit_on_close.value = Some(false);
        listen
    }

    /// An empty list, set at `source`.
    fn replaced(source: &Source) -> Self {
        fn unset<T>(source: &Source) -> Answer<Option<T>> {
            Answer { value: None, source: source.clone() }
        }
        Self {
            source: source.clone(),
            keepalive: unset(source),
            backlog: unset(source),
            nodelay: unset(source),
            linger: unset(source),
            exit_on_close: unset(source),
            user_timeout: unset(source),
            lost: Vec::new(),
        }
    }

    fn with_lost(mut self) -> Self {
        let named = [
            ("backlog", self.backlog.value.is_some()),
            ("nodelay", self.nodelay.value.is_some()),
            ("linger", self.linger.value.is_some()),
            ("exit_on_close", self.exit_on_close.value.is_some()),
        ];
        self.lost = named.into_iter().filter(|(_, named)| !named).map(|(name, _)| name).collect();
        self
    }

    /// What the node's files make of the list.
    pub(super) fn read(read: &Read) -> Result<Self, String> {
        if let Some((path, node)) = read.advanced("tcp_listen_options") {
            return Self::from_terms(path, node);
        }
        let set: Vec<_> =
            read.settings.values().filter(|(_, setting)| option(&setting.key).is_some()).collect();
        let Some((path, first)) = set.iter().min_by_key(|(path, setting)| (path, setting.line)) else {
            return Ok(Self::defaults());
        };
        let mut listen = Self::replaced(&Read::source(path, first.line));
        let mut linger: Option<Answer<(bool, i64)>> = None;
        for (path, setting) in set {
            let source = Read::source(path, setting.line);
            match option(&setting.key).unwrap_or_default() {
                "keepalive" => listen.keepalive = boolean(path, setting)?,
                "nodelay" => listen.nodelay = boolean(path, setting)?,
                "exit_on_close" => listen.exit_on_close = boolean(path, setting)?,
                "backlog" => listen.backlog = integer(path, setting)?.map(Some),
                // Of the pair, what is not set is off and 0 (`tcp_listen_options.partial`).
                "linger.on" => {
                    let on = boolean(path, setting)?.value == Some(true);
                    linger.get_or_insert(Answer { value: (false, 0), source }).value.0 = on;
                }
                "linger.timeout" => {
                    let seconds = integer(path, setting)?.value;
                    linger.get_or_insert(Answer { value: (false, 0), source }).value.1 = seconds;
                }
                _ => {}
            }
        }
        if let Some(linger) = linger {
            listen.linger = linger.map(Some);
        }
        Ok(listen.with_lost())
    }

    fn from_terms(path: &str, node: &Node) -> Result<Self, String> {
        let mut listen = Self::replaced(&Read::source(path, node.line));
        let nodes =
            node.list().ok_or_else(|| format!("`tcp_listen_options` is no list at {}", listen.source))?;
        for node in nodes {
            let source = Read::source(path, node.line);
            let Term::Tuple(parts) = &node.term else { continue };
            let Some((Node { term: Term::Atom(name), .. }, values)) = parts.split_first() else { continue };
            let values: Vec<&Term> = values.iter().map(|value| &value.term).collect();
            let unknown = || format!("`{name}` is of no known form at {source}");
            let flag = || truth(values.first()).ok_or_else(unknown);
            let source = source.clone();
            match name.as_str() {
                "keepalive" => listen.keepalive = Answer { value: Some(flag()?), source },
                "nodelay" => listen.nodelay = Answer { value: Some(flag()?), source },
                "exit_on_close" => listen.exit_on_close = Answer { value: Some(flag()?), source },
                "backlog" => match values.first() {
                    Some(Term::Int(length)) => listen.backlog = Answer { value: Some(*length), source },
                    _ => return Err(unknown()),
                },
                "linger" => match values.first() {
                    Some(Term::Tuple(pair)) => match pair.as_slice() {
                        [on, Node { term: Term::Int(seconds), .. }] => {
                            let on = truth(Some(&&on.term)).ok_or_else(unknown)?;
                            listen.linger = Answer { value: Some((on, *seconds)), source };
                        }
                        _ => return Err(unknown()),
                    },
                    _ => return Err(unknown()),
                },
                // Level IPPROTO_TCP, option TCP_USER_TIMEOUT; in milliseconds.
                "raw" => {
                    if let [Term::Int(6), Term::Int(18), value] = values.as_slice() {
                        match value {
                            Term::Binary(numbers) if numbers.len() == 1 => {
                                listen.user_timeout = Answer { value: Some(numbers[0]), source };
                            }
                            _ => return Err(unknown()),
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(listen.with_lost())
    }
}

impl<T> Answer<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { value: change(self.value), source: self.source }
    }
}

/// The option in `tcp_listen_options.OPTION`; empty for `tcp_listen_options = none`.
fn option(key: &str) -> Option<&str> {
    let rest = key.strip_prefix("tcp_listen_options")?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('.') }
}

fn truth(term: Option<&&Term>) -> Option<bool> {
    match term {
        Some(Term::Atom(name)) if name == "true" => Some(true),
        Some(Term::Atom(name)) if name == "false" => Some(false),
        _ => None,
    }
}
