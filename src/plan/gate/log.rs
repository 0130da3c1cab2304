//! The service's own log: does it hold tracebacks that were not there before the restart?

use std::collections::BTreeSet;

use super::{Waiting, waiting};
use crate::audit::effective::{Settings, View};
use crate::facts::{Facts, Question, Reading, Traceback};
use crate::plan::{Restart, Role};
use crate::service::{self, Running};

/// Loggers that tell of connections that come and go while brokers restart; what the brokers say counts
/// there, and it is looked at too.
const OF_CONNECTIONS: [&str; 4] = ["oslo.messaging", "oslo_messaging", "amqp", "kombu"];

/// What to ask so that the log can be judged: before the restart and after it. Nothing for a broker, whose
/// log holds no tracebacks of Python.
pub fn question(restart: &Restart, facts: &Facts) -> Option<Question> {
    if restart.role == Role::Broker {
        return None;
    }
    let services = service::running(facts);
    let running = services.iter().find(|running| running.restarts_as() == Some(&restart.name))?;
    let file = file(facts, running).map(|path| match &running.container {
        Some(container) => format!("container:{container}:{path}"),
        None => path,
    });
    let unit = running.unit.clone().filter(|_| running.container.is_none());
    Some(Question::Log { name: restart.name.clone(), file, unit })
}

/// Nothing, when the log holds no traceback of a new kind since the restart; waiting is in vain then.
///
/// A kind that the service had before the restart is not the change's: a backend that cannot be reached
/// writes it at every start.
pub fn awaited(restart: &Restart, before: &Facts, after: &Facts) -> Option<Waiting> {
    let had = before.logs.get(&restart.name).and_then(Reading::known)?;
    let has = match after.logs.get(&restart.name)? {
        Reading::Known(has) => has,
        Reading::Absent => return None,
        Reading::Unknown(reason) => return waiting(format!("the log of {}", restart.name), reason.clone()),
    };
    let kinds: BTreeSet<(&str, &str)> = had.iter().map(kind).collect();
    let of_connections =
        |traceback: &Traceback| OF_CONNECTIONS.iter().any(|it| traceback.logger.starts_with(it));
    let new = has.iter().find(|it| !kinds.contains(&kind(it)) && !of_connections(it))?;
    Some(Waiting {
        awaited: format!("no new traceback in the log of {}", restart.name),
        seen: format!("{} in {} at {}", new.exception, new.logger, new.at),
        hopeless: true,
    })
}

fn kind(traceback: &Traceback) -> (&str, &str) {
    (&traceback.logger, &traceback.exception)
}

/// Where the service writes its log, as it sees the path: oslo.log's `log_file` and `log_dir`, with the
/// command line in front (oslo_log/log.py `_get_log_file_path`). `None`: to its standard error.
fn file(facts: &Facts, running: &Running) -> Option<String> {
    let argv = running.main_pid.and_then(|pid| facts.processes.get(&pid)).map(|main| main.argv.as_slice());
    let said = |flags: [&str; 2]| {
        let argv = argv.unwrap_or_default();
        argv.iter().enumerate().rev().find_map(|(at, word)| {
            flags.iter().find_map(|flag| match word.strip_prefix(flag)? {
                "" => argv.get(at + 1).cloned(),
                value => value.strip_prefix('=').map(str::to_owned),
            })
        })
    };
    let settings = Settings::read(facts, running, View::Process).ok();
    let set = |keys: [&str; 2]| {
        let option = |key: &&str| settings.as_ref()?.option("DEFAULT", key).ok()?.value;
        keys.iter().find_map(option).filter(|value| !value.is_empty())
    };
    let file = said(["--log-file", "--logfile"]).or_else(|| set(["log_file", "logfile"]));
    let folder = said(["--log-dir", "--logdir"]).or_else(|| set(["log_dir", "logdir"]));
    match (file, folder) {
        (Some(file), _) if file.starts_with('/') => Some(file),
        (Some(file), Some(folder)) => Some(format!("{}/{file}", folder.trim_end_matches('/'))),
        (None, Some(folder)) => {
            Some(format!("{}/{}.log", folder.trim_end_matches('/'), running.service.name))
        }
        (_, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{FileFact, Process, Unit};

    fn restart() -> Restart {
        let name = "cinder-volume.service".to_owned();
        let argv = vec!["systemctl".to_owned(), "restart".to_owned(), name.clone()];
        Restart { role: Role::RpcServer, order: 0, service: "cinder-volume".to_owned(), name, argv }
    }

    type Lines<'a> = &'a [(&'a str, &'a str, &'a str)];

    #[test]
    fn a_new_kind_of_traceback_is_no_health() {
        let log = |lines: &[(&str, &str, &str)]| {
            let traceback = |(at, logger, exception): &(&str, &str, &str)| Traceback {
                at: (*at).to_owned(),
                logger: (*logger).to_owned(),
                exception: (*exception).to_owned(),
            };
            let mut facts = Facts::default();
            let reading = Reading::Known(lines.iter().map(traceback).collect());
            facts.logs.insert(restart().name, reading);
            facts
        };
        let check = |before: Lines<'_>, after: Lines<'_>, expected: Option<&str>| {
            let found = awaited(&restart(), &log(before), &log(after));
            assert_eq!(found.as_ref().map(|it| it.seen.as_str()), expected);
            assert!(found.is_none_or(|it| it.hopeless));
        };
        let driver = ("10:00", "cinder.volume.manager", "VolumeDriverException");
        check(&[], &[], None);
        check(&[driver], &[driver], None);
        check(&[driver], &[driver, ("10:05", driver.1, driver.2)], None);
        check(&[], &[driver], Some("VolumeDriverException in cinder.volume.manager at 10:00"));
        let other = ("10:05", "cinder.service", "oslo_config.cfg.ConfigFileValueError");
        let seen = "oslo_config.cfg.ConfigFileValueError in cinder.service at 10:05";
        check(&[driver], &[driver, other], Some(seen));
        check(&[], &[("10:05", "oslo.messaging._drivers.impl_rabbit", "ConnectionResetError")], None);
        // Where the log was not read before, what is in it now is not told apart.
        assert_eq!(awaited(&restart(), &Facts::default(), &log(&[driver])), None);
        let mut unread = Facts::default();
        unread.logs.insert(restart().name, Reading::Unknown("permission denied".to_owned()));
        let found = awaited(&restart(), &log(&[]), &unread).map(|it| it.seen);
        assert_eq!(found.as_deref(), Some("permission denied"));
    }

    #[test]
    fn the_log_is_where_the_service_writes_it() {
        let check = |argv: &str, conf: &str, expected: Option<&str>| {
            let mut facts = Facts::default();
            let process = Process {
                pid: 20,
                argv: shlex::split(argv).unwrap(),
                cgroup: "/system.slice/cinder-volume.service".to_owned(),
                ..Process::default()
            };
            facts.processes.insert(20, process);
            let unit = Unit { main_pid: 20, active: "active".to_owned(), ..Unit::default() };
            facts.units.insert("cinder-volume.service".to_owned(), unit);
            let content = FileFact { content: conf.into(), ..FileFact::default() };
            facts.files.insert("/etc/cinder/cinder.conf".to_owned(), Reading::Known(content));
            let unit = Some("cinder-volume.service".to_owned());
            let file = expected.map(str::to_owned);
            let name = "cinder-volume.service".to_owned();
            assert_eq!(
                question(&restart(), &facts),
                Some(Question::Log { name, file, unit }),
                "{argv} {conf}"
            );
        };
        let plain = "/usr/bin/python3 /usr/bin/cinder-volume --config-file=/etc/cinder/cinder.conf";
        check(plain, "", None);
        check(plain, "[DEFAULT]\nlog_dir = /var/log/cinder/\n", Some("/var/log/cinder/cinder-volume.log"));
        check(
            plain,
            "[DEFAULT]\nlog_dir = /var/log/cinder\nlog_file = v.log\n",
            Some("/var/log/cinder/v.log"),
        );
        check(plain, "[DEFAULT]\nlog_dir = /var/log/cinder\nlog_file = /tmp/v.log\n", Some("/tmp/v.log"));
        check(plain, "[DEFAULT]\nlogdir = /srv\n", Some("/srv/cinder-volume.log"));
        let said = format!("{plain} --log-file=/var/log/cinder/c.log");
        check(&said, "[DEFAULT]\nlog_file = /tmp/v.log\n", Some("/var/log/cinder/c.log"));
        check(&format!("{plain} --logfile /l.log"), "", Some("/l.log"));
        check(&format!("{plain} --log-file-x=/l.log"), "", None);
        let broker = Restart { role: Role::Broker, ..restart() };
        assert_eq!(question(&broker, &Facts::default()), None);
        assert_eq!(question(&restart(), &Facts::default()), None);
    }
}
