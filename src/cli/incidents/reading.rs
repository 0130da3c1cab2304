//! Searching the logs of all hosts twice: for what is always of interest, then for what that names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Place, fault, minutes};
use crate::error::HostError;
use crate::event::{Event, Events};
use crate::incidents::{self, Found, Part, Source, when};
use crate::probe::search::{LogRequest, Logs, search};
use crate::report::incidents::SourceReport;
use crate::transport;

/// Requests whose every line is looked for in the second search.
const REQUESTS: usize = 60;

/// Places on one host of which the surroundings are read.
const SPOTS: usize = 40;

/// No call waits longer for its reply than this, but for exotic settings.
const BEFORE: SignedDuration = SignedDuration::from_mins(15);

/// Everything that both searches need.
pub(super) struct Reading<'a> {
    /// Where logs are, by name.
    pub places: &'a BTreeMap<String, Place>,
    /// How many hosts at once.
    pub forks: usize,
    /// The zone of local files.
    pub own_zone: TimeZone,
    /// The time now.
    pub now: Timestamp,
}

/// What the first search of one host gave.
struct First {
    source: SourceReport,
    events: Vec<incidents::Event>,
    /// Places whose surroundings are wanted, with a time that sorts them.
    spots: Vec<(Timestamp, u64, String)>,
}

type Scans = BTreeMap<String, Result<Logs, HostError>>;

impl Reading<'_> {
    /// Searches everywhere, and makes of it what it is.
    pub(super) async fn all(&self, events: &Events) -> (Found, BTreeMap<String, SourceReport>) {
        events(Event::ProbeStarted { hosts: self.places.len() });
        let requests =
            self.places.iter().map(|(name, place)| (name.clone(), place.request.clone())).collect();
        let scans = self.search(requests, Some(events)).await;
        let mut found = Vec::new();
        let mut sources = BTreeMap::new();
        let mut requests = BTreeMap::new();
        for (host, logs) in scans {
            let source = match logs {
                Ok(logs) => {
                    let mut first = self.first(&host, logs);
                    found.append(&mut first.events);
                    first.spots.sort();
                    let newest = first.spots.into_iter().rev().take(SPOTS);
                    let spots = newest.map(|(_, offset, path)| (offset, path)).collect();
                    requests.insert(host.clone(), LogRequest { spots, ..self.places[&host].request.clone() });
                    first.source
                }
                Err(error) => SourceReport { error: Some(fault(&error)), ..SourceReport::default() },
            };
            sources.insert(host, source);
        }
        let (ids, earliest) = wanted(&found);
        for request in requests.values_mut() {
            request.patterns.clone_from(&ids);
            if let Some(earliest) = earliest {
                request.minutes = minutes(Some(earliest), self.now).filter(|_| request.files.is_empty());
                request.since = Some(earliest.as_second());
            }
        }
        requests.retain(|_, request| !request.patterns.is_empty() || !request.spots.is_empty());
        for (host, logs) in self.search(requests, None).await {
            // What the first search found stands without the second.
            if let Ok(logs) = logs {
                found.extend(self.second(&host, logs, &ids));
            }
        }
        (incidents::find(found), sources)
    }

    fn first(&self, host: &str, logs: Logs) -> First {
        let zone = self.zone(host, &logs);
        let mut first = First {
            source: SourceReport {
                zone: zone.iana_name().map_or_else(
                    || self.now.to_zoned(zone.clone()).strftime("%:z").to_string(),
                    str::to_owned,
                ),
                unread: logs.unread.iter().cloned().collect(),
                clock_ahead: logs.ahead(),
                ..SourceReport::default()
            },
            events: Vec::new(),
            spots: Vec::new(),
        };
        if logs.cut {
            first.source.cut.push("the oldest files".to_owned());
        }
        for matches in logs.found {
            first.source.files += 1;
            first.source.bytes += matches.size.unwrap_or_default();
            if matches.cut {
                first.source.cut.push(matches.path.clone());
            }
            let read =
                incidents::read(&self.source(host, &matches.path, &zone, matches.lines, Part::Matches), &[]);
            first.source.lines += read.lines;
            first.source.skipped += read.skipped;
            let spot = |at: Timestamp, offset: u64| (at, offset, matches.path.clone());
            let gave_up = read.events.iter().filter(|event| event.is_of_a_lost_call());
            first.spots.extend(gave_up.filter_map(|event| Some(spot(event.at, event.offset?))));
            // Lines without a time come first: nothing is known of them otherwise.
            first.spots.extend(read.loose.iter().map(|offset| spot(Timestamp::MAX, *offset)));
            first.events.extend(read.events);
        }
        first
    }

    fn second(&self, host: &str, logs: Logs, ids: &[String]) -> Vec<incidents::Event> {
        let zone = self.zone(host, &logs);
        let mut events = Vec::new();
        for matches in logs.found {
            let source = self.source(host, &matches.path, &zone, matches.lines, Part::Matches);
            events.extend(incidents::read(&source, ids).events);
        }
        for (path, piece) in logs.spots {
            events.extend(incidents::read(&self.source(host, &path, &zone, piece, Part::Piece), &[]).events);
        }
        events
    }

    async fn search(&self, requests: BTreeMap<String, LogRequest>, events: Option<&Events>) -> Scans {
        let room = Arc::new(Semaphore::new(self.forks.max(1)));
        let mut hosts = JoinSet::new();
        for (host, request) in requests {
            let (room, events) = (Arc::clone(&room), events.map(Arc::clone));
            let target = self.places[&host].target.clone();
            hosts.spawn(async move {
                let _place = room.acquire_owned().await.expect("the semaphore is never closed");
                let logs = async { search(&transport::connect(&target).await?, &request).await }.await;
                if let Some(events) = events {
                    events(Event::Probed { host: host.clone(), error: logs.as_ref().err().cloned() });
                }
                (host, logs)
            });
        }
        let mut scans = Scans::new();
        while let Some(host) = hosts.join_next().await {
            match host {
                Ok((name, logs)) => {
                    scans.insert(name, logs);
                }
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // Nobody aborts a task of this set but its own end.
                Err(_) => {}
            }
        }
        scans
    }

    /// Lines as a source. On local files the paths tell the hosts.
    fn source(&self, host: &str, path: &str, zone: &TimeZone, bytes: Vec<u8>, part: Part) -> Source {
        let local = self.places[host].local;
        Source {
            host: (!local).then(|| host.to_owned()),
            path: if local { relative(path) } else { path.to_owned() },
            zone: zone.clone(),
            read_at: self.now,
            bytes,
            part,
        }
    }

    /// The zone of times that name none: the host's by name, or else as it is today.
    fn zone(&self, host: &str, logs: &Logs) -> TimeZone {
        if self.places[host].local {
            return self.own_zone.clone();
        }
        TimeZone::get(&logs.zone).ok().or_else(|| when::offset(&logs.offset)).unwrap_or(TimeZone::UTC)
    }
}

/// The requests of the newest lost calls, and when the earliest of these calls began.
fn wanted(events: &[incidents::Event]) -> (Vec<String>, Option<Timestamp>) {
    let mut calls: Vec<&incidents::Event> = events.iter().filter(|event| event.is_of_a_lost_call()).collect();
    calls.sort_by_key(|event| std::cmp::Reverse(event.at));
    let mut ids: Vec<String> = Vec::new();
    let mut earliest = None;
    for event in calls {
        if let Some(id) = event.request.as_ref().filter(|id| !ids.contains(id)) {
            if ids.len() == REQUESTS {
                break;
            }
            ids.push(id.clone());
        }
        earliest = Some(event.at);
    }
    (ids, earliest.and_then(|at| at.checked_sub(BEFORE).ok()))
}

/// The path as it is below the working folder, where it is.
fn relative(path: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    Path::new(path).strip_prefix(&here).map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}
