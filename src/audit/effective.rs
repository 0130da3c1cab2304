//! What a service on a host reads for an option of oslo.messaging, and from where.
//!
//! The order is oslo.messaging's: a query option of `transport_url` (since 5.18.0) beats the environment,
//! which beats the files, which beat the default of the installed release.

use std::fmt;

use super::package;
use crate::conf::oslo::{self, Config, Source, TransportUrl};
use crate::deployment::Persist;
use crate::facts::{Facts, FileFact, Reading};
use crate::messaging::{self, MessagingOption, Release};
use crate::service::{ConfigFile, Running};

/// The group of oslo.messaging's RabbitMQ driver.
pub const RABBIT: &str = "oslo_messaging_rabbit";

/// Which of two copies of a file: they differ where a container has its own, made when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Where an edit lasts, and what the next start reads.
    Lasting,
    /// What the process sees.
    Process,
}

/// What a service reads.
#[derive(Debug)]
pub struct Settings<'a> {
    running: &'a Running,
    view: View,
    config: Config,
    /// oslo.messaging's version, where it is known.
    pub release: Option<Release>,
}

/// Where a value comes from; `Display` is what evidence shows as its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file, or a variable of the process.
    Set(Source),
    /// A query option of `transport_url`, and where that is set.
    Url(Source),
    /// Nobody sets it: the default of this release of oslo.messaging.
    Default(Option<Release>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(source) => write!(f, "{source}"),
            Self::Url(source) => write!(f, "{source} (transport_url)"),
            Self::Default(Some(release)) => write!(f, "default of oslo.messaging {release}"),
            Self::Default(None) => f.write_str("default of oslo.messaging"),
        }
    }
}

/// The value a service reads for one option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The value after substitution, before type conversion; `None`: the option has no value.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
    /// The group and key it stands under, which may be deprecated names.
    pub name: (String, String),
}

impl<'a> Settings<'a> {
    /// Reads the files of a service.
    ///
    /// # Errors
    /// Why its settings are not known: a file that was not read, or that oslo.config itself cannot read.
    pub fn read(facts: &Facts, running: &'a Running, view: View) -> Result<Self, String> {
        if let Some(reason) = running.main_pid.and_then(|pid| facts.unread.get(&format!("environ:{pid}"))) {
            return Err(format!("environment of {}: {reason}", running.service.name));
        }
        let mut files = Vec::with_capacity(running.config.len());
        for file in &running.config {
            let (path, reading) = copy(facts, file, view);
            let content = match reading {
                Some(Reading::Known(fact)) => &fact.content,
                Some(Reading::Unknown(reason)) => return Err(format!("{path}: {reason}")),
                Some(Reading::Absent) => continue,
                None => return Err(format!("{path}: it was not read")),
            };
            let parsed = oslo::read(path, content.as_bytes()).map_err(|error| match error.place() {
                Some(place) => format!("oslo.config cannot read {path}:{}: {error}", place.line),
                None => format!("oslo.config cannot read {path}: {error}"),
            })?;
            files.push(parsed);
        }
        let environ = running.environ.iter().map(|(name, value)| (name.clone(), value.clone()));
        let oslo_config = package::version(facts, running, "oslo.config");
        let config = Config::new(files).with_environment(environ, oslo_config);
        let release = package::version(facts, running, "oslo.messaging").and_then(Release::parse);
        Ok(Self { running, view, config, release })
    }

    /// The service.
    pub fn running(&self) -> &'a Running {
        self.running
    }

    /// The files by path, as they were read.
    pub fn texts<'f>(&self, facts: &'f Facts) -> Vec<(&'f str, &'f str)>
    where
        'a: 'f,
    {
        let copies = self.running.config.iter().map(|file| copy(facts, file, self.view));
        copies.filter_map(|(path, reading)| Some((path, &*reading?.known()?.content))).collect()
    }

    /// The file of the service that its settings call `path`.
    pub fn file(&self, facts: &Facts, path: &str) -> Option<usize> {
        self.running.config.iter().rposition(|file| copy(facts, file, self.view).0 == path)
    }

    /// The value of an option.
    ///
    /// # Errors
    /// Why it has none: a reference to an option that does not exist.
    pub fn option(&self, group: &str, key: &str) -> Result<Effective, String> {
        if group == RABBIT
            && let Some(found) = self.in_url(key)?
        {
            return Ok(found);
        }
        let known = known(group, key);
        let deprecated =
            known.map(|option| option.deprecated_names(self.release.as_ref())).unwrap_or_default();
        let Some(found) = self.config.effective(group, key, &deprecated) else {
            return Ok(Effective {
                value: self.default(group, key)?,
                origin: Origin::Default(self.release),
                name: (group.to_owned(), key.to_owned()),
            });
        };
        let value = self.substitute(&found.group, &found.value)?;
        Ok(Effective {
            value: Some(value),
            origin: Origin::Set(found.source),
            name: (found.group, found.key),
        })
    }

    /// The default of the installed release.
    fn default(&self, group: &str, key: &str) -> Result<Option<String>, String> {
        let Some(option) = known(group, key) else { return Ok(None) };
        match option.possible_defaults(self.release.as_ref()).as_slice() {
            [] => Ok(None),
            [one] => Ok(one.map(str::to_owned)),
            several => {
                let several: Vec<_> = several.iter().map(|default| default.unwrap_or("none")).collect();
                Err(format!(
                    "{key} is not set, and which release is installed is not known: its default can be {}",
                    several.join(" or ")
                ))
            }
        }
    }

    /// The brokers it connects to, and where that is set; `None` where nothing sets `transport_url`.
    ///
    /// # Errors
    /// Why the URL cannot be read; never the URL.
    pub fn transport_url(&self) -> Result<Option<(TransportUrl, Source)>, String> {
        let Some(found) = self.config.effective("DEFAULT", "transport_url", &[]) else { return Ok(None) };
        let text = self.substitute("DEFAULT", &found.value)?;
        let url = TransportUrl::parse(&text).map_err(|reason| format!("{}: {reason}", found.source))?;
        Ok(Some((url, found.source)))
    }

    /// The addresses of the brokers it may be connected to: those of `transport_url`, or, before 9.0.0, of
    /// the options that came before it. Without any of them, none: such a service talks to no broker.
    ///
    /// # Errors
    /// Why they are not known.
    pub fn brokers(&self) -> Result<Vec<String>, String> {
        let mut hosts: Vec<String> = match self.transport_url()? {
            Some((url, _)) => url.hosts.into_iter().map(|host| host.host).collect(),
            None => self.old_brokers()?,
        };
        let mut seen = std::collections::BTreeSet::new();
        hosts.retain(|host| !host.is_empty() && seen.insert(host.clone()));
        Ok(hosts)
    }

    fn old_brokers(&self) -> Result<Vec<String>, String> {
        if self.release.is_some_and(|release| release >= Release::new(9, 0, 0)) {
            return Ok(Vec::new());
        }
        for key in ["rabbit_hosts", "rabbit_host"] {
            let old = [("DEFAULT", key)];
            let Some(found) = self.config.effective(RABBIT, key, &old) else { continue };
            let text = self.substitute(&found.group, &found.value)?;
            let hosts =
                text.split(',').map(|host| host.trim().split(':').next().unwrap_or_default().to_owned());
            return Ok(hosts.collect());
        }
        Ok(Vec::new())
    }

    fn in_url(&self, key: &str) -> Result<Option<Effective>, String> {
        // Where the version is not known: every release in use looks at the query.
        if self.release.is_some_and(|release| release < Release::new(5, 18, 0)) {
            return Ok(None);
        }
        let Some((url, source)) = self.transport_url()? else { return Ok(None) };
        Ok(url.query.get(key).map(|value| Effective {
            value: Some(value.clone()),
            origin: Origin::Url(source),
            name: (RABBIT.to_owned(), key.to_owned()),
        }))
    }

    fn substitute(&self, group: &str, value: &str) -> Result<String, String> {
        let defaults = |group: &str, key: &str| {
            // Of options other than oslo.messaging's we know neither existence nor default.
            known(group, key)?;
            self.default(group, key).ok()
        };
        self.config.substitute(group, value, &defaults).map_err(|error| error.to_string())
    }
}

/// The option of oslo.messaging with this name.
pub fn known(group: &str, key: &str) -> Option<&'static MessagingOption> {
    messaging::option(key).filter(|option| option.group == group)
}

/// The copy of a file that is looked at: its path, and what was read.
fn copy<'a>(facts: &'a Facts, file: &'a ConfigFile, view: View) -> (&'a str, Option<&'a Reading<FileFact>>) {
    if let (View::Lasting, Persist::At { path, .. }) = (view, &file.persist)
        && let Some(reading) = facts.files.get(path)
    {
        return (path, Some(reading));
    }
    (&file.path, facts.files.get(&file.fact))
}
