//! Lines of one source to events: continuation lines, missing times, zones, what cannot be read.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::event::{self, Event, Goodbye, Kind};
use super::line::{Line, Lines};
use super::place;
use super::stamp::Stamp;

/// A log, or those of its lines that a scan found.
#[derive(Debug, Clone)]
pub struct Source {
    /// The host it is of, where that is known.
    pub host: Option<String>,
    /// Its path, or `journal`.
    pub path: String,
    /// The zone of times that name none.
    pub zone: TimeZone,
    /// When it was read: a time without a year is not later.
    pub read_at: Timestamp,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How much of the log it is.
    pub part: Part,
}

/// How much of a log a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Lines, each behind its number and its place in bytes, as `grep -n -b` prints them.
    Matches,
    /// A piece from somewhere in the middle.
    Piece,
}

/// What came of a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Read {
    /// Its events, in its order.
    pub events: Vec<Event>,
    /// Lines that were read.
    pub lines: u64,
    /// Lines that say something and not when, or that are not a line of any known form.
    pub skipped: u64,
    /// Places in bytes of lines that say something whose beginning stands further up.
    pub loose: Vec<u64>,
}

/// What the lines before leave to a line that says less.
#[derive(Debug, Clone, Default)]
struct Before {
    at: Option<Timestamp>,
    host: Option<String>,
    program: Option<String>,
    pid: Option<u32>,
    logger: Option<String>,
    request: Option<String>,
}

/// Reads a source; `wanted` are ids of requests whose every line is kept.
pub fn read(source: &Source, wanted: &[String]) -> Read {
    let mut found = Read::default();
    let mut lines = Lines::default();
    let mut before = Before::default();
    let mut count = 0;
    let mut last = 0;
    let numbered = source.part == Part::Matches;
    for raw in source.bytes.split(|byte| *byte == b'\n') {
        count += 1;
        if raw.is_empty() || raw == b"--" {
            continue;
        }
        found.lines += 1;
        let mut line = lines.read(raw, numbered);
        let number = line.number.unwrap_or(count);
        if numbered && number != last + 1 {
            // Lines between the two were left out, so this one belongs to another.
            before = Before { host: before.host, ..Before::default() };
        }
        last = number;
        let at = instant(&line, source);
        let own_time = at.is_some();
        if own_time {
            before = Before {
                at,
                host: line.host.take().or_else(|| line.file.as_deref().and_then(place::host)).or(before.host),
                program: line.program.take(),
                pid: line.pid,
                logger: line.logger.take(),
                request: line.request.take(),
            };
        }
        // The reason of a close, below it.
        if let Some(Event { kind: Kind::Closed { why, .. }, .. }) = found.events.last_mut()
            && matches!(why, Goodbye::Other(words) if words.is_empty())
            && !line.text.is_empty()
            && event::kind(&line.text).is_none()
        {
            *why = event::because(&line.text);
            continue;
        }
        let kind = event::kind(&line.text).or_else(|| {
            let known = before.request.as_ref().is_some_and(|request| wanted.contains(request));
            (known && own_time && !line.text.is_empty()).then(|| Kind::Said { text: line.text.clone() })
        });
        let Some(kind) = kind else { continue };
        let Some(at) = before.at else {
            match line.offset {
                Some(offset) => found.loose.push(offset),
                None => found.skipped += 1,
            }
            continue;
        };
        let path = line.file.as_deref().unwrap_or(&source.path);
        let host = source.host.clone().or_else(|| before.host.clone()).or_else(|| place::host(path));
        found.events.push(Event {
            at: finished(at, &kind),
            host: host.unwrap_or_default(),
            path: path.to_owned(),
            line: (source.part != Part::Piece).then_some(number),
            offset: line.offset,
            service: place::service(path, before.program.as_deref(), before.logger.as_deref())
                .unwrap_or_default(),
            pid: before.pid,
            request: before.request.clone(),
            kind,
        });
    }
    found
}

/// When it happened: uwsgi dates an answer by the beginning of its request.
fn finished(at: Timestamp, kind: &Kind) -> Timestamp {
    match kind {
        Kind::Answered { took: Some(took), dated_by_request: true, .. } => {
            at.checked_add(SignedDuration::from_secs_f64(*took)).unwrap_or(at)
        }
        _ => at,
    }
}

/// When the line was written.
fn instant(line: &Line, source: &Source) -> Option<Timestamp> {
    let stamp = line.stamp?;
    let own = stamp.in_zone(&source.zone, source.read_at);
    let taken = line.taken.and_then(|taken| taken.in_zone(&source.zone, source.read_at));
    match (stamp, taken) {
        // journald's time has a zone and perhaps no milliseconds, the service's has milliseconds and no
        // zone: zones differ by quarters of an hour.
        (Stamp::Local(_) | Stamp::Yearless(_), Some(taken)) => {
            const QUARTER: f64 = 900.0;
            let own = own?;
            let apart = own.duration_since(taken).as_secs_f64();
            let zones = (apart / QUARTER).round() * QUARTER;
            own.checked_sub(SignedDuration::from_secs_f64(zones)).ok()
        }
        _ => own.or(taken),
    }
}
