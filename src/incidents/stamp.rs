//! Times at the beginning of a log line, in every form that the services and brokers write.
//!
//! Most name no time zone: oslo.log (`_DEFAULT_LOG_DATE_FORMAT` is `%Y-%m-%d %H:%M:%S`, with
//! `.%(msecs)03d` behind it) and RabbitMQ up to 3.8 write the local time of their host. Such a stamp
//! is an instant only together with a zone ([`Stamp::in_zone`]).

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

/// A time as a line states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// With its zone: an instant.
    Instant(Timestamp),
    /// Local time of whoever wrote it.
    Local(DateTime),
    /// The same without a year, as syslog writes it.
    Yearless(DateTime),
}

impl Stamp {
    /// The instant, for a writer in `zone`; `latest` gives the year to a stamp that has none: the last
    /// one in which it is not later than a day after.
    pub fn in_zone(self, zone: &TimeZone, latest: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Instant(at) => Some(at),
            Self::Local(local) => zone.to_ambiguous_timestamp(local).compatible().ok(),
            Self::Yearless(local) => {
                let year = zone.to_datetime(latest).year();
                let day = jiff::SignedDuration::from_hours(24);
                [year + 1, year, year - 1].into_iter().find_map(|year| {
                    let local = local.with().year(year).build().ok()?;
                    let at = zone.to_ambiguous_timestamp(local).compatible().ok()?;
                    (at.duration_since(latest) <= day).then_some(at)
                })
            }
        }
    }
}

/// The stamp that `line` begins with, and what follows it.
///
/// Brackets, an opening one and its closing one, belong to it (Apache's error log, uwsgi).
pub fn leading(line: &str) -> Option<(Stamp, &str)> {
    let mut text = Cursor(line);
    let bracket = text.eat('[');
    let stamp = iso(&mut text)
        .or_else(|| english(&mut text))
        .or_else(|| day_first(&mut text))
        .or_else(|| epoch(&mut text))?;
    if bracket {
        text.eat(']');
    }
    Some((stamp, text.0))
}

/// Every reader takes a copy, so that one that fails leaves nothing eaten.
#[derive(Clone, Copy)]
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn eat(&mut self, wanted: char) -> bool {
        let rest = self.0.strip_prefix(wanted);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn eat_any(&mut self, wanted: &[char]) -> Option<()> {
        wanted.iter().any(|wanted| self.eat(*wanted)).then_some(())
    }

    fn word(&mut self) -> &'a str {
        let end = self.0.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word
    }

    /// A number of `least` to `most` digits.
    fn number(&mut self, least: usize, most: usize) -> Option<i64> {
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        if digits < least || digits > most {
            return None;
        }
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        number.parse().ok()
    }

    /// `.123456` or `,123` as nanoseconds; 0 where there is none.
    fn fraction(&mut self) -> i32 {
        let mut ahead = *self;
        if ahead.eat_any(&['.', ',']).is_none() {
            return 0;
        }
        let digits = ahead.0.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return 0;
        }
        let (number, rest) = ahead.0.split_at(digits);
        self.0 = rest;
        format!("{number:0<9}")[..9].parse().unwrap_or(0)
    }

    fn clock(&mut self) -> Option<Time> {
        let hour = self.number(2, 2)?;
        self.eat_any(&[':'])?;
        let minute = self.number(2, 2)?;
        self.eat_any(&[':'])?;
        let second = self.number(2, 2)?;
        let nanosecond = self.fraction();
        // A leap second, as some loggers write it.
        let second = second.min(59);
        Time::new(
            i8::try_from(hour).ok()?,
            i8::try_from(minute).ok()?,
            i8::try_from(second).ok()?,
            nanosecond,
        )
        .ok()
    }

    /// `Z`, ` UTC`, `+01:00`, `+0100`, ` +0000`.
    fn zone(&mut self) -> Option<Offset> {
        let mut ahead = *self;
        ahead.eat(' ');
        for name in ["UTC", "GMT", "Z"] {
            if let Some(rest) = ahead
                .0
                .strip_prefix(name)
                .filter(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
            {
                self.0 = rest;
                return Some(Offset::UTC);
            }
        }
        let sign = if ahead.eat('+') {
            1
        } else if ahead.eat('-') {
            -1
        } else {
            return None;
        };
        let digits = ahead.0.bytes().take_while(u8::is_ascii_digit).count();
        let (hours, minutes) = match digits {
            4 => {
                let both = ahead.number(4, 4)?;
                (both / 100, both % 100)
            }
            2 => {
                let hours = ahead.number(2, 2)?;
                (hours, if ahead.eat(':') { ahead.number(2, 2)? } else { 0 })
            }
            _ => return None,
        };
        let offset = Offset::from_seconds(i32::try_from(sign * (hours * 60 + minutes) * 60).ok()?).ok()?;
        self.0 = ahead.0;
        Some(offset)
    }

    /// A date and time of day with the zone that may follow.
    fn finish(&mut self, date: Date, time: Time) -> Option<Stamp> {
        let Some(offset) = self.zone() else { return Some(Stamp::Local(date.to_datetime(time))) };
        // `log_date_format` with %z: oslo.log puts the milliseconds behind it.
        let nanosecond = self.fraction();
        let time =
            if nanosecond > 0 { time.with().subsec_nanosecond(nanosecond).build().ok()? } else { time };
        offset.to_timestamp(date.to_datetime(time)).ok().map(Stamp::Instant)
    }
}

fn date(year: i64, month: i64, day: i64) -> Option<Date> {
    Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// `2017-05-12 18:24:47.231`, `2022/11/22T10:00:00,5+01:00`, also behind a day's name (`short-full`).
fn iso(text: &mut Cursor<'_>) -> Option<Stamp> {
    let mut ahead = *text;
    if weekday(ahead.word()) {
        ahead.eat_any(&[' '])?;
    } else {
        ahead = *text;
    }
    let year = ahead.number(4, 4)?;
    ahead.eat_any(&['-', '/'])?;
    let month = ahead.number(2, 2)?;
    ahead.eat_any(&['-', '/'])?;
    let day = ahead.number(2, 2)?;
    ahead.eat_any(&[' ', 'T', '_'])?;
    let time = ahead.clock()?;
    let stamp = ahead.finish(date(year, month, day)?, time)?;
    *text = ahead;
    Some(stamp)
}

/// `Nov 22 10:00:00` (syslog), `Tue Nov 22 10:00:00.123456 2022` (Apache, uwsgi).
fn english(text: &mut Cursor<'_>) -> Option<Stamp> {
    let mut ahead = *text;
    let mut name = ahead.word();
    if weekday(name) {
        ahead.eat_any(&[' '])?;
        name = ahead.word();
    }
    let month = month(name)?;
    ahead.eat_any(&[' '])?;
    ahead.eat(' ');
    let day = ahead.number(1, 2)?;
    ahead.eat_any(&[' '])?;
    let time = ahead.clock()?;
    let mut further = ahead;
    if further.eat(' ')
        && let Some(year) = further.number(4, 4).filter(|year| (1970..2200).contains(year))
    {
        let stamp = further.finish(date(year, month, day)?, time)?;
        *text = further;
        return Some(stamp);
    }
    // A leap year, so that no day is refused.
    let stamp = Stamp::Yearless(date(2000, month, day)?.to_datetime(time));
    *text = ahead;
    Some(stamp)
}

/// `12/May/2017 18:25:47`, `12/May/2017:18:25:47 +0200` (access logs), `1-Jan-2017::12:00:00` (RabbitMQ to 3.6).
fn day_first(text: &mut Cursor<'_>) -> Option<Stamp> {
    let mut ahead = *text;
    let day = ahead.number(1, 2)?;
    ahead.eat_any(&['/', '-'])?;
    let month = month(ahead.word())?;
    ahead.eat_any(&['/', '-'])?;
    let year = ahead.number(4, 4)?;
    ahead.eat_any(&[':', ' '])?;
    ahead.eat(':');
    let time = ahead.clock()?;
    let stamp = ahead.finish(date(year, month, day)?, time)?;
    *text = ahead;
    Some(stamp)
}

/// `1669111200.123456` (`journalctl -o short-unix`).
fn epoch(text: &mut Cursor<'_>) -> Option<Stamp> {
    let mut ahead = *text;
    let seconds = ahead.number(9, 11)?;
    if !ahead.0.starts_with('.') {
        return None;
    }
    let nanosecond = ahead.fraction();
    let at = Timestamp::new(seconds, nanosecond).ok()?;
    *text = ahead;
    Some(Stamp::Instant(at))
}

fn weekday(word: &str) -> bool {
    ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].contains(&word)
}

fn month(word: &str) -> Option<i64> {
    const NAMES: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let place = NAMES.iter().position(|name| *name == word)?;
    i64::try_from(place + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_time_is_read() {
        let check = |line: &str, expected: &str, rest: &str| {
            let (stamp, left) = leading(line).unwrap_or_else(|| panic!("no stamp: {line}"));
            let text = match stamp {
                Stamp::Instant(at) => at.to_string(),
                Stamp::Local(local) => local.to_string(),
                Stamp::Yearless(local) => format!("year-{}", local.strftime("%m-%dT%H:%M:%S")),
            };
            assert_eq!((text.as_str(), left), (expected, rest), "{line}");
        };
        check("2017-05-12 18:24:47.231 4499 INFO", "2017-05-12T18:24:47.231", " 4499 INFO");
        check("2022-11-22 10:00:00,5 x", "2022-11-22T10:00:00.5", " x");
        check("2022/11/22 10:00:00 x", "2022-11-22T10:00:00", " x");
        check("2022-11-22 10:00:00.123456+01:00 [info]", "2022-11-22T09:00:00.123456Z", " [info]");
        check("2022-11-22T10:00:00+0100 ctl1 cinder", "2022-11-22T09:00:00Z", " ctl1 cinder");
        check("2022-11-22T10:00:00+0100.250 4499 INFO", "2022-11-22T09:00:00.25Z", " 4499 INFO");
        check("2022-11-22T10:00:00Z x", "2022-11-22T10:00:00Z", " x");
        check("2022-11-22 10:00:00 -0530 x", "2022-11-22T15:30:00Z", " x");
        check("Tue 2022-11-22 10:00:00 UTC ctl1", "2022-11-22T10:00:00Z", " ctl1");
        check("Nov 22 10:00:00 ctl1", "year-11-22T10:00:00", " ctl1");
        check("Nov  2 10:00:00.5 ctl1", "year-11-02T10:00:00", " ctl1");
        check("[Tue Nov 22 10:00:00.5 2022] [wsgi]", "2022-11-22T10:00:00.5", " [wsgi]");
        check("12/May/2017 18:25:47] \"POST", "2017-05-12T18:25:47", "] \"POST");
        check("[12/May/2017:18:25:47 +0200] \"POST", "2017-05-12T16:25:47Z", " \"POST");
        check("1-Jan-2017::12:00:00 ===", "2017-01-01T12:00:00", " ===");
        check("1669111200.123456 ctl1", "2022-11-22T10:00:00.123456Z", " ctl1");
        check("2016-12-31 23:59:60 x", "2016-12-31T23:59:59", " x");
    }

    #[test]
    fn what_is_no_time_is_left_alone() {
        for line in [
            "",
            "4499 INFO",
            "2017-13-12 18:24:47",
            "2017-05-12",
            "2017-05-12 18:24",
            "Traceback",
            "1669111200 x",
            "Nov 31 10:00:00",
        ] {
            assert_eq!(leading(line).map(|(stamp, _)| stamp), None, "{line}");
        }
    }

    #[test]
    fn a_zone_and_a_year_come_from_the_host() {
        let check = |line: &str, zone: &str, latest: &str, expected: Option<&str>| {
            let zone = TimeZone::get(zone).unwrap();
            let (stamp, _) = leading(line).unwrap();
            let at = stamp.in_zone(&zone, latest.parse().unwrap());
            assert_eq!(at.map(|at| at.to_string()).as_deref(), expected, "{line}");
        };
        let now = "2026-11-22T12:00:00Z";
        check("2022-07-22 10:00:00", "Europe/Berlin", now, Some("2022-07-22T08:00:00Z"));
        check("2022-11-22 10:00:00", "Europe/Berlin", now, Some("2022-11-22T09:00:00Z"));
        check("Nov 22 10:00:00", "UTC", now, Some("2026-11-22T10:00:00Z"));
        check("Dec 31 10:00:00", "UTC", now, Some("2025-12-31T10:00:00Z"));
        check("Feb 29 10:00:00", "UTC", "2024-11-22T12:00:00Z", Some("2024-02-29T10:00:00Z"));
        check("Feb 29 10:00:00", "UTC", now, None);
        // The hour that does not exist, and the one that exists twice.
        check("2022-03-27 02:30:00", "Europe/Berlin", now, Some("2022-03-27T01:30:00Z"));
        check("2022-10-30 02:30:00", "Europe/Berlin", now, Some("2022-10-30T00:30:00Z"));
    }
}
