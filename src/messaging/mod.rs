//! What oslo.messaging's options mean in the release that is installed (`options.yml`), and what its client
//! does at the socket.
//!
//! Where the release is not known, answers are conservative over all releases: every default it may have,
//! every name it may accept, and a value is valid only where every release takes it.

mod release;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use serde::Deserialize;

pub use release::{RELEASES, Release, Series};

use crate::conf::oslo::{boolean, float, integer};
use crate::timing::{Client, Keepalive};

/// One option, over all releases.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessagingOption {
    /// Its name in the newest release that has it.
    #[serde(rename = "option")]
    pub name: String,
    /// Its group.
    pub group: String,
    /// Its type in the newest release that has it.
    r#type: Type,
    /// `s` where it is a time.
    #[serde(default)]
    pub unit: Option<String>,
    /// Values that are accepted and then fail.
    #[serde(default)]
    breaks: Vec<Breaks>,
    /// Oldest first.
    history: Vec<Era>,
}

/// An option from one version on, until the next era.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Era {
    from: Release,
    #[serde(default)]
    absent: bool,
    #[serde(default)]
    r#type: Option<Type>,
    #[serde(default)]
    default: Option<String>,
    #[serde(default)]
    min: Option<f64>,
    #[serde(default)]
    max: Option<f64>,
    #[serde(default)]
    choices: Vec<String>,
    #[serde(default)]
    deprecated: bool,
    #[serde(default)]
    old: Vec<OldName>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Breaks {
    value: String,
    why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Int,
    Float,
    Bool,
    Str,
    List,
    Port,
}

/// An old name, `GROUP/NAME` in the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct OldName {
    group: String,
    name: String,
}

impl TryFrom<String> for OldName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (group, name) = text.split_once('/').ok_or_else(|| format!("`{text}` is not GROUP/NAME"))?;
        Ok(Self { group: group.to_owned(), name: name.to_owned() })
    }
}

/// The oldest version that `options.yml` was read from; older ones are taken to be like it.
const OLDEST_READ: Release = Release::new(1, 7, 0);

static OPTIONS: LazyLock<Vec<MessagingOption>> = LazyLock::new(|| {
    serde_yaml::from_str(include_str!("options.yml")).expect("options.yml is tested to be valid")
});

/// Every option.
pub fn options() -> &'static [MessagingOption] {
    &OPTIONS
}

/// The option with this name.
pub fn option(name: &str) -> Option<&'static MessagingOption> {
    options().iter().find(|option| option.name == name)
}

impl MessagingOption {
    /// The eras that may be in force; at most one when the release is known.
    fn eras(&self, release: Option<&Release>) -> impl Iterator<Item = &Era> + use<'_> {
        let in_force = match release {
            None => self.history.as_slice(),
            Some(release) => {
                let release = OLDEST_READ.max(*release);
                let later = self.history.partition_point(|era| era.from <= release);
                &self.history[later.saturating_sub(1)..later]
            }
        };
        in_force.iter().filter(|era| !era.absent)
    }

    /// Does this release have it? Unknown: does any?
    pub fn exists_in(&self, release: Option<&Release>) -> bool {
        self.eras(release).next().is_some()
    }

    /// Its default in a release; `None` when it has no default, or the release has no such option.
    pub fn default_in(&self, release: &Release) -> Option<&str> {
        self.eras(Some(release)).next().and_then(|era| era.default.as_deref())
    }

    /// Every default it may have, newest first; `None` for releases without a default or the option.
    pub fn possible_defaults(&self, release: Option<&Release>) -> Vec<Option<&str>> {
        if let Some(release) = release {
            return vec![self.default_in(release)];
        }
        let mut defaults = Vec::new();
        for era in self.history.iter().rev() {
            let default = era.default.as_deref().filter(|_| !era.absent);
            if !defaults.contains(&default) {
                defaults.push(default);
            }
        }
        defaults
    }

    /// The names a release also accepts, as (group, name). Since 16.0.0 a line in `[DEFAULT]` is silently
    /// ignored for most options that were once read there.
    pub fn deprecated_names(&self, release: Option<&Release>) -> Vec<(&str, &str)> {
        let mut names = Vec::new();
        for old in self.eras(release).flat_map(|era| &era.old) {
            let name = (old.group.as_str(), old.name.as_str());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Is it to be removed?
    pub fn deprecated_in(&self, release: &Release) -> bool {
        self.eras(Some(release)).any(|era| era.deprecated)
    }

    /// Does the release take this value, and work with it? The reason if not.
    pub fn valid(&self, release: Option<&Release>, value: &str) -> Result<(), String> {
        if let (false, Some(release)) = (self.exists_in(release), release) {
            return Err(format!("oslo.messaging {release} has no option `{}`", self.name));
        }
        for era in self.eras(release) {
            era.takes(value, era.r#type.unwrap_or(self.r#type)).map_err(|reason| match release {
                Some(release) => format!("{reason} in oslo.messaging {release}"),
                None => format!(
                    "{reason} in oslo.messaging {} and later, and which is installed is not known",
                    era.from
                ),
            })?;
        }
        match self.breaks.iter().find(|breaks| breaks.value == value.trim()) {
            Some(breaks) => Err(format!("`{value}` is accepted and then fails: {}", breaks.why)),
            None => Ok(()),
        }
    }
}

impl Era {
    fn takes(&self, value: &str, kind: Type) -> Result<(), String> {
        let number = match kind {
            Type::Int | Type::Port => integer(value)?.map(|number| number as f64),
            Type::Float => float(value)?,
            Type::Bool => {
                boolean(value)?;
                None
            }
            Type::Str | Type::List => None,
        };
        if let Some(number) = number {
            if let Some(min) = self.min.filter(|min| number < *min) {
                return Err(format!("`{value}` is below the minimum of {min}"));
            }
            if let Some(max) = self.max.filter(|max| number > *max) {
                return Err(format!("`{value}` is above the maximum of {max}"));
            }
            if kind == Type::Port && !(0.0..=65535.0).contains(&number) {
                return Err(format!("`{value}` is no port"));
            }
        }
        if !self.choices.is_empty() && !self.choices.iter().any(|choice| choice == value) {
            return Err(format!("`{value}` is none of {}", self.choices.join(", ")));
        }
        Ok(())
    }
}

/// py-amqp sets keepalive of its sockets itself since this version (60/10/9).
const AMQP_SETS_KEEPALIVE: Release = Release::new(2, 1, 4);

/// oslo.messaging sets `TCP_USER_TIMEOUT` to the heartbeat threshold since this version.
const SETS_USER_TIMEOUT: Release = Release::new(5, 0, 0);

/// What the client's end of a connection is configured with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClientSettings {
    /// Effective `heartbeat_timeout_threshold`, in seconds.
    pub heartbeat_timeout_threshold: u32,
    /// Effective `heartbeat_rate`.
    pub heartbeat_rate: u32,
    /// Effective `kombu_reconnect_delay`, in seconds.
    pub kombu_reconnect_delay: f64,
    /// Keepalive of the client's host.
    pub keepalive: Keepalive,
    /// `tcp_retries2` of the client's host.
    pub retries2: u32,
}

/// The client's end as the detection model sees it, with these versions of oslo.messaging and py-amqp.
///
/// Up to Ocata (py-amqp 1.4.9) the sysctls of the client's host rule its AMQP sockets; from Pike on they do
/// nothing there. Where py-amqp's version is not known, the one that oslo.messaging's release was pinned to
/// counts, and where neither is known, the slower of the two keepalives.
pub fn client(settings: ClientSettings, messaging: Option<&Release>, amqp: Option<&Release>) -> Client {
    let own = Keepalive { time: 60, intvl: 10, probes: 9 };
    let threshold = settings.heartbeat_timeout_threshold;
    let pinned = messaging.and_then(Release::series).map(|series| series.amqp);
    let keepalive = match amqp.copied().or(pinned) {
        Some(amqp) if amqp >= AMQP_SETS_KEEPALIVE => own,
        Some(_) => settings.keepalive,
        None if settings.keepalive.sum() > own.sum() => settings.keepalive,
        None => own,
    };
    let sets_user_timeout = messaging.is_some_and(|messaging| *messaging >= SETS_USER_TIMEOUT);
    Client {
        heartbeat_threshold: threshold,
        heartbeat_rate: settings.heartbeat_rate,
        user_timeout: (sets_user_timeout && threshold > 0).then(|| f64::from(threshold)),
        keepalive,
        retries2: settings.retries2,
        reconnect_delay: settings.kombu_reconnect_delay,
    }
}
