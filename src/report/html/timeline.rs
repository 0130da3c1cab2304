//! "Dies, broker notices, caller gives up" for each broker, before and after, as numbers for an SVG drawing. What a
//! bar means is in [`crate::timing::drawing`], which draws the same on a terminal.

use serde::Serialize;

use super::super::human::windows::{Fate, Group, grouped};
use super::super::human::{names::names, now, rows, then};
use super::super::view::Tone;
use super::super::{HostReport, Report};
use crate::audit::WindowRow;
use crate::timing::{Axis, Timeline};

/// With more brokers than this, those with the same drawing share one.
const ALONE: usize = 6;

/// So many steps of the axis can be told apart on a narrow screen.
const STEPS: f64 = 6.0;

/// The drawing of a broker.
#[derive(Debug, Serialize)]
pub(super) struct Figure<'a> {
    /// Whose: `ctl1`, or several brokers with the same numbers.
    pub brokers: String,
    pub marks: Vec<Mark>,
    pub lanes: Vec<Lane<'a>>,
}

/// A second on the axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Mark {
    /// In percent of the width.
    pub at: f64,
    pub label: String,
}

/// One timeline.
#[derive(Debug, Serialize)]
pub(super) struct Lane<'a> {
    /// `before`, `now`, `after`.
    pub when: &'static str,
    pub tone: Tone,
    /// Whose connection is the worst one.
    pub service: &'a str,
    pub host: &'a str,
    /// How many other connections of this broker have numbers of their own.
    pub others: usize,
    pub broker: Bar,
    pub client: Bar,
    pub caller: Bar,
    /// Where the caller gives up, in percent; null where it does not.
    pub deadline: Option<f64>,
    /// From where to where replies are lost, or a call still gets its reply, in percent.
    pub band: Option<(f64, f64)>,
    pub verdict: String,
    /// The setting that decides when the broker notices.
    pub decided_by: String,
}

/// A bar, in percent of the width.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Bar {
    /// Until here it certainly has not noticed.
    pub sure: f64,
    /// Until here it may not have noticed.
    pub until: f64,
    /// Does it go on beyond the drawing?
    pub beyond: bool,
    pub words: String,
}

/// What a figure is drawn of; equal where the drawing is.
#[derive(Clone)]
struct Drawn<'a> {
    brokers: Vec<&'a str>,
    lanes: Vec<(&'static str, Group<'a>, usize)>,
}

/// A drawing for every broker, the worst first.
pub(super) fn figures(report: &Report) -> Vec<Figure<'_>> {
    let stages = stages(report);
    let mut brokers: Vec<&str> = Vec::new();
    // The groups come worst first, and so do their brokers.
    for group in stages.iter().flat_map(|(_, groups)| groups) {
        for (_, _, broker) in &group.owners {
            if !brokers.contains(broker) {
                brokers.push(broker);
            }
        }
    }
    let mut drawn: Vec<Drawn<'_>> = Vec::new();
    for broker in &brokers {
        let lanes = stages.iter().filter_map(|(when, groups)| lane_of(when, groups, broker)).collect();
        let one = Drawn { brokers: vec![broker], lanes };
        let same = |known: &&mut Drawn<'_>| brokers.len() > ALONE && alike(known, &one);
        match drawn.iter_mut().find(same) {
            Some(known) => known.brokers.push(broker),
            None => drawn.push(one),
        }
    }
    drawn.iter().map(figure).collect()
}

/// What was, is and would be, as far as the report has it, each with its windows.
fn stages(report: &Report) -> Vec<(&'static str, Vec<Group<'_>>)> {
    let has =
        |part: fn(&HostReport) -> &Vec<WindowRow>| report.hosts.values().any(|host| !part(host).is_empty());
    let mut stages = Vec::new();
    if has(|host| &host.windows_before) {
        stages.push(("before", grouped(rows(report, before))));
    }
    stages.push(("now", grouped(rows(report, now))));
    if has(|host| &host.windows_after) {
        stages.push(("after", grouped(rows(report, then))));
    }
    stages
}

/// The windows of a host as they were.
fn before(host: &HostReport) -> &Vec<WindowRow> {
    if host.windows_before.is_empty() { &host.windows } else { &host.windows_before }
}

/// The worst connection of a broker, narrowed to it, and how many others it has.
fn lane_of<'a>(
    when: &'static str,
    groups: &[Group<'a>],
    broker: &str,
) -> Option<(&'static str, Group<'a>, usize)> {
    let mut own = groups.iter().filter(|group| group.owners.iter().any(|(_, _, of)| *of == broker));
    let mut worst = own.next()?.clone();
    worst.owners.retain(|(_, _, of)| *of == broker);
    Some((when, worst, own.count()))
}

fn alike(one: &Drawn<'_>, other: &Drawn<'_>) -> bool {
    one.lanes.len() == other.lanes.len()
        && one.lanes.iter().zip(&other.lanes).all(|((when, group, _), (at, with, _))| {
            when == at && group.timeline() == with.timeline() && group.row.decided_by == with.row.decided_by
        })
}

fn figure<'a>(drawn: &Drawn<'a>) -> Figure<'a> {
    let timelines: Vec<Timeline> = drawn.lanes.iter().map(|(_, group, _)| group.timeline()).collect();
    let axis = Axis::new(&timelines, STEPS);
    let percent = |seconds: f64| rounded(axis.share(seconds) * 100.0);
    let marks = axis.marks().map(|mark| Mark {
        at: percent(mark),
        label: if mark >= axis.end { format!("{mark} s") } else { mark.to_string() },
    });
    Figure {
        brokers: names(&drawn.brokers),
        marks: marks.collect(),
        lanes: drawn.lanes.iter().map(|(when, group, others)| lane(when, group, *others, &axis)).collect(),
    }
}

fn lane<'a>(when: &'static str, group: &Group<'a>, others: usize, axis: &Axis) -> Lane<'a> {
    let timeline = group.timeline();
    let Timeline { broker_best, broker_worst, client_worst, rpc_response_timeout: deadline } = timeline;
    let words = timeline.words();
    let percent = |seconds: f64| rounded(axis.share(seconds) * 100.0);
    let bar = |sure: Option<f64>, until: Option<f64>, words: String| Bar {
        sure: percent(sure.unwrap_or(f64::INFINITY)),
        until: percent(until.unwrap_or(f64::INFINITY)),
        beyond: until.is_none_or(|until| until > axis.end),
        words,
    };
    let slower = broker_worst.zip(client_worst).map_or(f64::INFINITY, |(broker, client)| broker.max(client));
    let (service, host, _) = group.owners.first().expect("a group has owners");
    Lane {
        when,
        tone: match group.fate() {
            Fate::Unbounded | Fate::Late(_) => Tone::Bad,
            Fate::Survives(_) | Fate::Patient => Tone::Good,
        },
        service,
        host,
        others,
        broker: bar(broker_best.or(broker_worst), broker_worst, words.broker),
        client: bar(Some(0.0), client_worst, words.client),
        caller: bar(deadline, deadline, words.caller),
        deadline: deadline.map(percent),
        band: deadline.map(|deadline| {
            let (from, to) = if slower < deadline { (slower, deadline) } else { (deadline, slower) };
            (percent(from), percent(to))
        }),
        verdict: words.verdict,
        decided_by: group.row.decided_by.clone(),
    }
}

fn rounded(percent: f64) -> f64 {
    (percent * 100.0).round() / 100.0
}
