//! The tracebacks in a service's log.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use crate::facts::Traceback;

/// A line of the journal, as `journalctl -o short-iso` prints it.
static JOURNAL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?<at>\d{4}-\S+) \S+ (?<logger>[^\s\[]+)\[(?<pid>\d+)\]: (?<text>.*)$")
        .expect("the expression is fixed")
});

/// A line of oslo.log's formats (`logging_exception_prefix`, `logging_default_format_string`).
static OSLO: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?<at>\d{4}-\d\d-\d\d[ T]\S+) (?:(?<pid>\d+) )?(?:ERROR|CRITICAL|TRACE) (?<logger>\S+)(?: (?<text>.*))?$")
        .expect("the expression is fixed")
});

/// The class of an exception as the last line of its traceback names it.
static EXCEPTION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^([A-Za-z_][\w.]*)(?::|$)").expect("the expression is fixed"));

const START: &str = "Traceback (most recent call last):";

/// Every traceback in these lines: when it was written, who wrote it and the class of its exception; no
/// text of a message, which may hold anything.
pub(super) fn tracebacks(text: &str) -> Vec<Traceback> {
    let mut found = Vec::new();
    let mut open: BTreeMap<(String, String), String> = BTreeMap::new();
    for line in text.lines() {
        let line = Line::read(line);
        let writer = (line.pid.to_owned(), line.logger.to_owned());
        if line.text.contains(START) {
            open.insert(writer, line.at.to_owned());
        } else if let Some(exception) = EXCEPTION.captures(line.text)
            && let Some(at) = open.remove(&writer)
        {
            found.push(Traceback { at, logger: writer.1, exception: exception[1].to_owned() });
        }
    }
    found
}

struct Line<'a> {
    at: &'a str,
    pid: &'a str,
    logger: &'a str,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Self {
        let journal = JOURNAL.captures(line);
        let inner = journal.as_ref().and_then(|found| found.name("text")).map_or(line, |text| text.as_str());
        let Some(found) = OSLO.captures(inner).or(journal) else {
            return Self { at: "", pid: "", logger: "", text: line };
        };
        let part = |name: &str| found.name(name).map_or("", |part| part.as_str());
        Self { at: part("at"), pid: part("pid"), logger: part("logger"), text: part("text") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracebacks_are_found_with_their_writer_and_class() {
        let check = |text: &str, expected: &[(&str, &str, &str)]| {
            let found = tracebacks(text);
            let found: Vec<(&str, &str, &str)> =
                found.iter().map(|it| (it.at.as_str(), it.logger.as_str(), it.exception.as_str())).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("", &[]);
        check("2026-11-22 13:00:00.123 42 INFO cinder.service [-] Starting\n", &[]);
        check("2026-11-22 13:00:00.123 42 ERROR cinder.service [-] ValueError: no traceback\n", &[]);
        let oslo = "\
2026-11-22 13:00:01.001 42 ERROR cinder.volume.manager [-] Failed to initialize driver.: ValueError: secret
2026-11-22 13:00:01.001 42 ERROR cinder.volume.manager Traceback (most recent call last):
2026-11-22 13:00:01.001 42 ERROR cinder.volume.manager   File \"/usr/lib/python3/x.py\", line 4, in init_host
2026-11-22 13:00:01.001 7 ERROR cinder.scheduler [-] Other: process
2026-11-22 13:00:01.001 42 ERROR cinder.volume.manager     self.driver.do_setup(ctxt)
2026-11-22 13:00:01.001 42 ERROR cinder.volume.manager cinder.exception.VolumeDriverException: hunter2
2026-11-22 13:00:01.001 42 ERROR cinder.volume.manager 
";
        check(
            oslo,
            &[("2026-11-22 13:00:01.001", "cinder.volume.manager", "cinder.exception.VolumeDriverException")],
        );
        // Pike and older write TRACE; journald puts a line in front.
        check(
            &oslo.replace(" ERROR ", " TRACE "),
            &[("2026-11-22 13:00:01.001", "cinder.volume.manager", "cinder.exception.VolumeDriverException")],
        );
        let journal: String = oslo
            .lines()
            .flat_map(|line| ["2026-11-22T13:00:01+0000 ctl1 cinder-volume[42]: ", line, "\n"])
            .collect();
        check(
            &journal,
            &[("2026-11-22 13:00:01.001", "cinder.volume.manager", "cinder.exception.VolumeDriverException")],
        );
        let raw = "\
2026-11-22T13:00:02+0000 ctl1 cinder-volume[43]: Traceback (most recent call last):
2026-11-22T13:00:02+0000 ctl1 cinder-volume[43]:   File \"/usr/bin/cinder-volume\", line 10, in <module>
2026-11-22T13:00:02+0000 ctl1 cinder-volume[43]: ModuleNotFoundError: No module named 'x'
2026-11-22T13:00:02+0000 ctl1 systemd[1]: cinder-volume.service: Main process exited
";
        check(raw, &[("2026-11-22T13:00:02+0000", "cinder-volume", "ModuleNotFoundError")]);
        let chained = "Traceback (most recent call last):\n  File \"a\"\nKeyError: 1\n\n\
            During handling of the above exception, another exception occurred:\n\n\
            Traceback (most recent call last):\n  File \"b\"\namqp.exceptions.AccessRefused: (0, 0)\n";
        check(chained, &[("", "", "KeyError"), ("", "", "amqp.exceptions.AccessRefused")]);
        // Cut off before its last line.
        check("Traceback (most recent call last):\n  File \"a\"\n", &[]);
    }
}
