//! One line of a log taken apart: who wrote it, when, and what it says.
//!
//! The forms are oslo.log's (`logging_context_format_string` and its relatives, with and without
//! process and request id, and its JSON), journald's (`journalctl -o short`, `short-iso`,
//! `short-unix`, `short-full`, `json`) round any of these, RabbitMQ's of every release, web servers',
//! and each of them behind a name as `grep` prints it.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::stamp::{Stamp, leading};

/// What a line states; whatever it leaves out is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// The file that `grep` named in front of it.
    pub file: Option<String>,
    /// The number that `grep` put in front of it.
    pub number: Option<u64>,
    /// Its place in the file in bytes, where `grep` put that there too.
    pub offset: Option<u64>,
    /// When it was written.
    pub stamp: Option<Stamp>,
    /// When journald or syslog took it, where that is stated as well.
    pub taken: Option<Stamp>,
    /// The host that journald or syslog names.
    pub host: Option<String>,
    /// The program that journald or syslog names.
    pub program: Option<String>,
    /// The process.
    pub pid: Option<u32>,
    /// Python's logger, as in `cinder.api.openstack.wsgi`.
    pub logger: Option<String>,
    /// The request it belongs to, `req-…`; the service's own where there are two.
    pub request: Option<String>,
    /// What it says.
    pub text: String,
}

/// Takes lines of one text apart. It remembers the name in front of the last line, because a line of a
/// traceback has nothing else to tell where that name ends.
#[derive(Debug, Default)]
pub struct Lines {
    prefix: Option<String>,
}

impl Lines {
    /// A line without its line ending. Bytes that are not UTF-8 are replaced.
    pub fn read(&mut self, raw: &[u8], numbered: bool) -> Line {
        let text = String::from_utf8_lossy(raw);
        // A file system that lost power leaves NULs at the end of what it had written.
        let text = text.trim_end().trim_start_matches('\0');
        let mut line = Line::default();
        let text = if numbered { number(text, &mut line) } else { text };
        let plain = COLOURS.replace_all(text, "");
        let text = self.prefixed(&plain, &mut line);
        body(text, &mut line, 0);
        line
    }

    /// Cuts the name off that `grep` put in front.
    fn prefixed<'a>(&mut self, text: &'a str, line: &mut Line) -> &'a str {
        const LONGEST: usize = 300;
        if begins(text) {
            self.prefix = None;
            return text;
        }
        for (at, _) in text.match_indices([':', '-']).take_while(|(at, _)| *at < LONGEST) {
            let (name, rest) = text.split_at(at);
            let rest = &rest[1..];
            if begins(rest) && !name.is_empty() && !name.contains(char::is_whitespace) {
                let (name, number) = name_and_number(name);
                line.file = Some(name.to_owned());
                line.number = line.number.or(number);
                self.prefix = Some(name.to_owned());
                return rest;
            }
        }
        let same = self.prefix.as_ref().and_then(|name| {
            let rest = text.strip_prefix(name.as_str())?.strip_prefix([':', '-'])?;
            line.file = Some(name.clone());
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let numbered = rest[digits..].strip_prefix([':', '-']).filter(|_| digits > 0);
            line.number = line.number.or(numbered.and(rest[..digits].parse().ok()));
            Some(numbered.unwrap_or(rest))
        });
        same.unwrap_or(text)
    }
}

/// Escape sequences of a console that a log was written for.
static COLOURS: LazyLock<Regex> = LazyLock::new(|| regex(r"\x1b\[[0-9;]*m"));

/// What comes before a level: process, its name, or nothing; then the logger.
static OSLO: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^\s*((?:\S+\s+){0,3}?)(?:DEBUG|INFO|WARNING|WARN|AUDIT|ERROR|CRITICAL|TRACE|FATAL):?\s+([A-Za-z_][\w.-]*)(?:\s+(.*))?$",
    )
});

/// journald and syslog: host, program, process.
static SYSLOG: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s+(\S+)\s+([\w@./-]+?)(?:\[(\d+)\])?:\s(.*)$"));

/// RabbitMQ from 3.7 on: level, Erlang process.
static RABBIT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^\s*\[(?:debug|info|notice|warning|error|critical)\]\s+(?:<[\d.]+>\s*)?(.*)$"));

/// RabbitMQ up to 3.6: the line above the message.
static REPORT: LazyLock<Regex> = LazyLock::new(|| regex(r"^=\w+ REPORT==== (.*?) ===$"));

/// uwsgi's own log.
static UWSGI_PID: LazyLock<Regex> = LazyLock::new(|| regex(r"^\[pid: (\d+)\|"));

static REQUEST: LazyLock<Regex> =
    LazyLock::new(|| regex(r"req-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"));

pub(super) fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is constant")
}

/// Does a record begin here?
fn begins(text: &str) -> bool {
    text.starts_with('{') || UWSGI_PID.is_match(text) || REPORT.is_match(text) || leading(text).is_some()
}

/// `12:3456:` or `12-3456-`, as `grep -n -b` prints them.
fn number<'a>(text: &'a str, line: &mut Line) -> &'a str {
    let Some((number, rest)) = leading_number(text) else { return text };
    let Some((offset, rest)) = leading_number(rest) else { return text };
    line.number = Some(number);
    line.offset = Some(offset);
    rest
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest.strip_prefix([':', '-'])?))
}

/// `api.log:12` is a name and a number.
fn name_and_number(name: &str) -> (&str, Option<u64>) {
    let split = name.rsplit_once([':', '-']).filter(|(front, _)| !front.is_empty());
    match split.and_then(|(front, number)| Some((front, number.parse::<u64>().ok()?))) {
        // A rotated file's date (`api.log-20170512`) is no number of a line.
        Some((front, number)) if number < 10_000_000 => (front, Some(number)),
        _ => (name, None),
    }
}

/// What follows names and numbers; `depth` counts records within records.
fn body(text: &str, line: &mut Line, depth: u8) {
    if text.starts_with('{')
        && let Ok(Value::Object(fields)) = serde_json::from_str(text)
    {
        json(&fields, line, depth);
        return;
    }
    if let Some(report) = REPORT.captures(text) {
        line.stamp = leading(&report[1]).map(|(stamp, _)| stamp);
        return;
    }
    let Some((stamp, rest)) = leading(text) else {
        if let Some(stamp) = of_access_log(text) {
            line.stamp = Some(stamp);
            line.pid = UWSGI_PID.captures(text).and_then(|found| found[1].parse().ok());
        }
        message(text, line);
        return;
    };
    if let Some(outer) = line.stamp.replace(stamp) {
        line.taken = Some(outer);
    }
    if let Some(oslo) = OSLO.captures(rest) {
        let pid = oslo[1].split(|c: char| !c.is_ascii_digit()).find_map(|number| number.parse().ok());
        line.pid = pid.or(line.pid);
        line.logger = Some(oslo[2].to_owned());
        message(oslo.get(3).map_or("", |rest| rest.as_str()), line);
    } else if let Some(rabbit) = RABBIT.captures(rest) {
        rabbit[1].clone_into(&mut line.text);
    } else if let Some(syslog) = SYSLOG.captures(rest).filter(|_| depth == 0) {
        line.host = Some(syslog[1].to_owned());
        line.program = Some(syslog[2].to_owned());
        line.pid = syslog.get(3).and_then(|pid| pid.as_str().parse().ok());
        body(&syslog[4], line, depth + 1);
    } else {
        message(rest, line);
    }
}

/// The time in brackets somewhere in a line of an access log.
fn of_access_log(text: &str) -> Option<Stamp> {
    if !text.contains("HTTP/") {
        return None;
    }
    text.match_indices('[').find_map(|(at, _)| leading(&text[at..])).map(|(stamp, _)| stamp)
}

/// The context in brackets, and the message behind it.
fn message(text: &str, line: &mut Line) {
    let text = text.trim_start();
    let context = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match context {
        Some((context, rest))
            if context.trim() == "-" || context.contains("req-") || context.starts_with("None") =>
        {
            // With `global_request_id` the service's own comes second.
            line.request = REQUEST
                .find_iter(context)
                .last()
                .map(|found| found.as_str().to_owned())
                .or(line.request.take());
            rest.trim_start().clone_into(&mut line.text);
        }
        _ => text.clone_into(&mut line.text),
    }
}

/// journald's export, oslo.log's `JSONFormatter`, RabbitMQ's JSON formatter.
fn json(fields: &serde_json::Map<String, Value>, line: &mut Line, depth: u8) {
    let text = |name: &str| -> Option<String> {
        match fields.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            // journald writes what is not UTF-8 as an array of bytes.
            Value::Array(bytes) => {
                let bytes: Option<Vec<u8>> =
                    bytes.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect();
                Some(String::from_utf8_lossy(&bytes?).into_owned())
            }
            _ => None,
        }
    };
    let number = |name: &str| text(name).and_then(|text| text.parse::<f64>().ok());
    let pid = |name: &str| text(name).and_then(|text| text.parse().ok());
    if let Some(micros) = text("__REALTIME_TIMESTAMP").and_then(|text| text.parse().ok()) {
        let at = jiff::Timestamp::from_microsecond(micros).ok().map(Stamp::Instant);
        line.stamp = at;
        line.host = text("_HOSTNAME");
        line.program = text("SYSLOG_IDENTIFIER").or_else(|| text("_COMM"));
        line.pid = pid("_PID").or_else(|| pid("SYSLOG_PID"));
        line.logger = text("LOGGER_NAME");
        line.request = text("REQUEST_ID");
        if depth == 0 {
            body(&text("MESSAGE").unwrap_or_default(), line, depth + 1);
        }
        return;
    }
    if let Some(when) = text("asctime") {
        let stamp = leading(&when).map(|(stamp, _)| stamp);
        let millis = number("msecs").unwrap_or_default();
        // `asctime` has whole seconds, or the milliseconds already.
        line.stamp = stamp.map(|stamp| with_millis(stamp, millis));
        line.pid = pid("process");
        line.logger = text("name");
        let context = fields.get("context").and_then(|context| context.get("request_id"));
        line.request = text("request_id").or_else(|| context.and_then(Value::as_str).map(str::to_owned));
        line.text = text("message").unwrap_or_default();
        let traceback = match fields.get("traceback") {
            Some(Value::Array(lines)) => lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            Some(Value::String(text)) => text.clone(),
            _ => String::new(),
        };
        if !traceback.is_empty() {
            line.text = format!("{} {traceback}", line.text);
        }
        return;
    }
    line.stamp = text("time").and_then(|time| leading(&time).map(|(stamp, _)| stamp));
    line.text = text("msg").or_else(|| text("message")).unwrap_or_default();
}

fn with_millis(stamp: Stamp, millis: f64) -> Stamp {
    // Milliseconds of a second: 0 to 999.
    #[expect(clippy::cast_possible_truncation)]
    let nanosecond = (millis.clamp(0.0, 999.0) as i32) * 1_000_000;
    match stamp {
        Stamp::Local(local) if local.subsec_nanosecond() == 0 => {
            Stamp::Local(local.with().subsec_nanosecond(nanosecond).build().unwrap_or(local))
        }
        Stamp::Instant(at) if at.subsec_nanosecond() == 0 => {
            Stamp::Instant(jiff::Timestamp::new(at.as_second(), nanosecond).unwrap_or(at))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQ: &str = "req-cd605658-cb9a-4784-90b2-d1419e073af4";

    /// One line: file:number, stamp, host program pid, logger, request, text; `-` for what is not there.
    fn shown(line: &Line) -> String {
        let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let stamp = |stamp: Option<Stamp>| {
            or(stamp.map(|stamp| match stamp {
                Stamp::Instant(at) => at.to_string(),
                Stamp::Local(local) | Stamp::Yearless(local) => local.to_string(),
            }))
        };
        [
            format!("{}:{}", or(line.file.clone()), or(line.number.map(|number| number.to_string()))),
            stamp(line.stamp),
            format!(
                "{} {} {}",
                or(line.host.clone()),
                or(line.program.clone()),
                or(line.pid.map(|pid| pid.to_string()))
            ),
            or(line.logger.clone()),
            or(line.request.clone().map(|request| request[..8].to_owned())),
            line.text.clone(),
        ]
        .join(" | ")
    }

    #[test]
    fn every_form_of_a_line_is_taken_apart() {
        let check = |raw: &str, expected: &str| {
            assert_eq!(shown(&Lines::default().read(raw.as_bytes(), false)), expected, "{raw}");
        };
        // oslo.log.
        check(
            &format!("2017-05-12 18:24:47.231 4499 INFO cinder.api [{REQ} u p - - -] POST http://x/"),
            "-:- | 2017-05-12T18:24:47.231 | - - 4499 | cinder.api | req-cd60 | POST http://x/",
        );
        check(
            &format!(
                "2026-11-22 10:00:00.001 7 ERROR a.b [req-00000000-0000-0000-0000-000000000000 {REQ} u p - - d d] x"
            ),
            "-:- | 2026-11-22T10:00:00.001 | - - 7 | a.b | req-cd60 | x",
        );
        check(
            "2022-11-22 10:00:00.001 7 ERROR oslo.messaging._drivers.impl_rabbit [-] [4ea8a3d0-1111-2222-3333-444455556666] AMQP server",
            "-:- | 2022-11-22T10:00:00.001 | - - 7 | oslo.messaging._drivers.impl_rabbit | - | [4ea8a3d0-1111-2222-3333-444455556666] AMQP server",
        );
        check(
            "2022-11-22 10:00:00.001 INFO a.b [None req-] x",
            "-:- | 2022-11-22T10:00:00.001 | - - - | a.b | - | x",
        );
        check(
            "2022-11-22 10:00:00.001 7 MainProcess INFO a.b x",
            "-:- | 2022-11-22T10:00:00.001 | - - 7 | a.b | - | x",
        );
        check(
            "2022-11-22T10:00:00+0100.250 MainProcess 7 WARNING a.b [-] x",
            "-:- | 2022-11-22T09:00:00.25Z | - - 7 | a.b | - | x",
        );
        check(
            "2017-05-12 18:24:47.231 4499 TRACE cinder.api   File \"x.py\", line 1, in call",
            "-:- | 2017-05-12T18:24:47.231 | - - 4499 | cinder.api | - | File \"x.py\", line 1, in call",
        );
        check("  File \"x.py\", line 1, in call", "-:- | - | - - - | - | - | File \"x.py\", line 1, in call");
        check(
            r#"{"asctime": "2022-11-22 10:00:00", "msecs": 123.4, "process": 7, "name": "a.b", "message": "x", "traceback": ["y"], "context": {"request_id": "req-00000000"}}"#,
            "-:- | 2022-11-22T10:00:00.123 | - - 7 | a.b | req-0000 | x y",
        );
        // journald and syslog.
        check(
            "2022-11-22T10:00:00+0000 ctl1 cinder-api[4499]: 2022-11-22 11:00:00.231 7 INFO a.b [-] x",
            "-:- | 2022-11-22T11:00:00.231 | ctl1 cinder-api 7 | a.b | - | x",
        );
        check(
            "Nov 22 10:00:00 ctl1 nova-compute[9]: x y",
            "-:- | 2000-11-22T10:00:00 | ctl1 nova-compute 9 | - | - | x y",
        );
        check(
            "1669111200.123456 ctl1 uwsgi[9]: x",
            "-:- | 2022-11-22T10:00:00.123456Z | ctl1 uwsgi 9 | - | - | x",
        );
        check(
            r#"{"__REALTIME_TIMESTAMP": "1669111200123456", "_HOSTNAME": "ctl1", "SYSLOG_IDENTIFIER": "nova", "_PID": "9", "MESSAGE": [120, 255]}"#,
            "-:- | 2022-11-22T10:00:00.123456Z | ctl1 nova 9 | - | - | x\u{fffd}",
        );
        // RabbitMQ.
        check(
            "2022-11-22 10:00:00.123456+00:00 [error] <0.855.0> closing AMQP connection <0.855.0> (a -> b):",
            "-:- | 2022-11-22T10:00:00.123456Z | - - - | - | - | closing AMQP connection <0.855.0> (a -> b):",
        );
        check("=WARNING REPORT==== 1-Jan-2017::12:00:00 ===", "-:- | 2017-01-01T12:00:00 | - - - | - | - | ");
        check(
            r#"{"time":"2022-11-22 10:00:00.123456+00:00","level":"error","msg":"closing","pid":"<0.855.0>"}"#,
            "-:- | 2022-11-22T10:00:00.123456Z | - - - | - | - | closing",
        );
        // Web servers.
        check(
            "[pid: 875|app: 0|req: 3/1] 10.77.0.1 () {26 vars in 428 bytes} [Sun Nov 22 14:17:09 2026] GET /v3/x => generated 0 bytes in 158 msecs (HTTP/1.1 500) 0 headers",
            "-:- | 2026-11-22T14:17:09 | - - 875 | - | - | [pid: 875|app: 0|req: 3/1] 10.77.0.1 () {26 vars in 428 bytes} [Sun Nov 22 14:17:09 2026] GET /v3/x => generated 0 bytes in 158 msecs (HTTP/1.1 500) 0 headers",
        );
        check(
            "10.0.0.1 - - [12/May/2017:18:25:47 +0200] \"POST /x HTTP/1.1\" 500 128",
            "-:- | 2017-05-12T16:25:47Z | - - - | - | - | 10.0.0.1 - - [12/May/2017:18:25:47 +0200] \"POST /x HTTP/1.1\" 500 128",
        );
        // grep.
        check(
            "api.log:2017-05-12 18:24:47.231 9 INFO a.b [-] x",
            "api.log:- | 2017-05-12T18:24:47.231 | - - 9 | a.b | - | x",
        );
        check(
            "/var/log/x-y/api.log:12:2017-05-12 18:24:47 9 INFO a x",
            "/var/log/x-y/api.log:12 | 2017-05-12T18:24:47 | - - 9 | a | - | x",
        );
        check(
            "api.log-20170512-13-2017-05-12 18:24:47 9 INFO a x",
            "api.log-20170512:13 | 2017-05-12T18:24:47 | - - 9 | a | - | x",
        );
        // What a crash leaves, and colours.
        check("\0\0\0\u{32}017-05-12 18:24:47 9 INFO a x", "-:- | 2017-05-12T18:24:47 | - - 9 | a | - | x");
        check(
            "\u{1b}[32m2017-05-12 18:24:47\u{1b}[0m 9 INFO a x",
            "-:- | 2017-05-12T18:24:47 | - - 9 | a | - | x",
        );
        check("", "-:- | - | - - - | - | - | ");
    }

    #[test]
    fn a_name_in_front_is_known_on_lines_without_a_time() {
        let mut lines = Lines::default();
        lines.read(b"a.log:7:2017-05-12 18:24:47 9 ERROR a x", false);
        let line = lines.read(b"a.log-8-Traceback (most recent call last):", false);
        assert_eq!(
            (line.file.as_deref(), line.number, line.text.as_str()),
            (Some("a.log"), Some(8), "Traceback (most recent call last):")
        );
    }

    #[test]
    fn numbers_of_the_scan_are_cut_off() {
        let line = Lines::default().read(b"7-123-2017-05-12 18:24:47 9 ERROR a x", true);
        assert_eq!((line.number, line.offset, line.text.as_str()), (Some(7), Some(123), "x"));
    }
}
