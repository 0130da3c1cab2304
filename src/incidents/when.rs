//! `--since` and `--until`: a moment, or how long ago.

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::error::{Diagnostic, Result};

/// A moment: RFC 3339, a date with or without a time of day in `zone`, `now`, `today`, `yesterday`, or how long
/// before `now` (`-2h`, `2h`, `1d 3h`, `90 minutes ago`).
pub fn moment(typed: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp> {
    let text = typed.trim();
    let day = |days: i64| {
        let date = now.to_zoned(zone.clone()).date().saturating_sub(SignedDuration::from_hours(24 * days));
        zone.to_ambiguous_timestamp(date.at(0, 0, 0, 0)).compatible().ok()
    };
    let found = match text {
        "now" => Some(now),
        "today" => day(0),
        "yesterday" => day(1),
        _ => absolute(text, zone).or_else(|| ago(text, now)),
    };
    found.ok_or_else(|| {
        Diagnostic::new(format!("`{typed}` is no time"))
            .hint("`-2h` and `1d` are how long ago; `2017-05-12 18:24`, `2017-05-12T18:24:47+02:00`, `today`")
    })
}

/// An offset as `date +%z` prints it, as a zone.
pub fn offset(text: &str) -> Option<TimeZone> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let number: i32 = digits.replace(':', "").parse().ok()?;
    let seconds = sign * (number / 100 * 60 + number % 100) * 60;
    Offset::from_seconds(seconds).ok().map(TimeZone::fixed)
}

fn absolute(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let local =
        text.parse::<DateTime>().ok().or_else(|| text.parse::<Date>().ok().map(|date| date.at(0, 0, 0, 0)));
    // A number alone is a year to nobody.
    let local = local.filter(|_| text.contains('-'))?;
    zone.to_ambiguous_timestamp(local).compatible().ok()
}

fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.strip_prefix('-').unwrap_or(text);
    let text = text.strip_suffix("ago").unwrap_or(text).trim();
    let span: jiff::Span = text.parse().ok()?;
    // A day is 24 hours here, so that it needs no calendar.
    let span = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
    now.checked_sub(span.abs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let check = |typed: &str, expected: Option<&str>| {
            let found = moment(typed, now, &zone).ok().map(|at| at.to_string());
            assert_eq!(found.as_deref(), expected, "{typed}");
        };
        check("now", Some("2026-11-22T12:00:00Z"));
        check("today", Some("2026-11-21T23:00:00Z"));
        check("yesterday", Some("2026-11-20T23:00:00Z"));
        check("-2h", Some("2026-11-22T10:00:00Z"));
        check("2h", Some("2026-11-22T10:00:00Z"));
        check("90 minutes ago", Some("2026-11-22T10:30:00Z"));
        check("1d 3h", Some("2026-11-21T09:00:00Z"));
        check("2w", Some("2026-11-08T12:00:00Z"));
        check("2017-05-12 18:24", Some("2017-05-12T16:24:00Z"));
        check("2017-05-12", Some("2017-05-11T22:00:00Z"));
        check("2017-05-12T18:24:47+01:00", Some("2017-05-12T17:24:47Z"));
        check("20170512", None);
        check("soon", None);
        check("", None);
    }
}
