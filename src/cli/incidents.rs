//! `trueup incidents`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cli::args::{Files, IncidentArgs, Subject};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::{inputs, run};
use crate::error::{Diagnostic, Exit, HostError, Result};
use crate::event::{Event, Events};
use crate::incidents::{self, Found, PATTERNS, Part, Source, today, when};
use crate::probe::search::{LogRequest, Logs, scan};
use crate::report::incidents::{INCIDENT_FORMATS, IncidentReport, LOGS, SourceReport};
use crate::report::{HostFault, Style};
use crate::transport::{self, Flags, Target};

/// Requests whose every line is looked for in a second pass.
const REQUESTS: usize = 60;

/// Places on one host of which the surroundings are read.
const SPOTS: usize = 40;

/// Clocks that differ by more are worth a word.
const APART: f64 = 2.0;

/// Where logs are: a host, or the files of the command line.
struct Place {
    target: Target,
    request: LogRequest,
    local: bool,
}

/// Reads the logs and says which calls were lost.
pub async fn run(args: IncidentArgs, output: Output) -> Result<Exit> {
    let started_at = run::now();
    let now = Timestamp::now();
    let own_zone = match &args.timezone {
        Some(name) => TimeZone::get(name).map_err(|_| {
            Diagnostic::new(format!("`{name}` is no time zone")).hint("`Europe/Berlin`, `UTC`")
        })?,
        None => TimeZone::system(),
    };
    let moment = |typed: &Option<String>| {
        typed.as_deref().map(|typed| when::moment(typed, now, &own_zone)).transpose()
    };
    let (since, until) = (moment(&args.since)?, moment(&args.until)?);
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        return Err(Diagnostic::new("--since is later than --until"));
    }
    let has_inventory = !args.reach.source.inventory.is_empty();
    let inputs = if args.log.is_empty() || (has_inventory && !args.no_audit) {
        Some(inputs::read(&subject(&args), &args.reach, output)?)
    } else {
        None
    };
    let places = if args.log.is_empty() {
        on_hosts(inputs.as_ref(), &args, since, now)
    } else {
        on_files(&args, since, now)?
    };
    let cancel = run::interruptible(output);
    let progress = Progress::new();
    let audit = async {
        match inputs.as_ref().filter(|_| !args.no_audit) {
            Some(inputs) => {
                let cluster =
                    run::cluster(inputs, args.facts.as_deref(), args.reach.forks, &Progress::new(), &cancel)
                        .await?;
                Ok(Some(run::verdicts(inputs, &cluster)))
            }
            None => Ok(None),
        }
    };
    let forks = usize::from(args.reach.forks);
    let events = progress.events();
    let reading = read_all(&places, forks, own_zone.clone(), now, &events);
    let both = async { tokio::join!(reading, audit) };
    let ((found, mut sources), audits) = tokio::select! {
        both = both => both,
        () = cancel.cancelled() => return Ok(Exit::Interrupted),
    };
    progress.clear();
    let audits: Option<run::Audits> = audits?;
    let mut found = within(found, since, until);
    if let Some(audits) = &audits {
        let windows = audits
            .iter()
            .filter_map(|(host, audit)| Some((host.clone(), audit.as_ref().ok()?.windows.clone())))
            .collect();
        today::join(&mut found, &windows);
        for (host, audit) in audits {
            if let (Err(error), Some(source)) = (audit, sources.get_mut(host)) {
                source.audit_error = (source.error.is_none()).then(|| fault(error));
            }
        }
    }
    let report = IncidentReport::new(started_at, (since, until), sources, found, audits.is_some());
    let style =
        Style { colour: output.colour(), width: u16::try_from(output.width()).unwrap_or(100), diff: false };
    let format = INCIDENT_FORMATS
        .iter()
        .find(|format| format.name == args.format)
        .expect("the command line takes only known formats");
    output.answer(&(format.write)(&report, style));
    Ok(report.exit())
}

fn subject(args: &IncidentArgs) -> Subject {
    Subject {
        playbook: args.playbook.clone(),
        tags: Vec::new(),
        skip_tags: Vec::new(),
        format: String::new(),
        files: Files::default(),
    }
}

fn fault(error: &HostError) -> HostFault {
    HostFault { message: error.to_string(), cause: error.clone() }
}

/// Files that were last written to before `since` hold nothing of interest.
fn minutes(since: Option<Timestamp>, now: Timestamp) -> Option<u64> {
    /// A host's clock may be behind.
    const SPARE: i64 = 90;
    since.and_then(|since| u64::try_from(now.duration_since(since).as_mins() + SPARE).ok())
}

fn request(args: &IncidentArgs, since: Option<Timestamp>, now: Timestamp) -> LogRequest {
    /// A cut is this much before what it costs, at most.
    const BEFORE: i64 = 1800;
    LogRequest {
        minutes: minutes(since, now),
        since: since.map(|since| since.as_second() - BEFORE),
        patterns: PATTERNS.iter().map(|pattern| (*pattern).to_owned()).collect(),
        deadline: Duration::from_secs(args.scan_deadline),
        ..LogRequest::default()
    }
}

fn on_hosts(
    inputs: Option<&inputs::Inputs>,
    args: &IncidentArgs,
    since: Option<Timestamp>,
    now: Timestamp,
) -> BTreeMap<String, Place> {
    let hosts = inputs.into_iter().flat_map(|inputs| &inputs.hosts);
    let place = |reached: &inputs::Reached| Place {
        target: reached.target.clone(),
        request: LogRequest {
            root: reached.request.root.clone(),
            r#become: reached.request.r#become,
            journal: true,
            ..request(args, since, now)
        },
        local: false,
    };
    hosts.map(|(name, reached)| (name.clone(), place(reached))).collect()
}

/// The files of the command line, searched on this machine in the same way.
fn on_files(
    args: &IncidentArgs,
    since: Option<Timestamp>,
    now: Timestamp,
) -> Result<BTreeMap<String, Place>> {
    let mut files = Vec::new();
    for path in &args.log {
        collect(path, &mut files)?;
    }
    if files.is_empty() {
        return Err(Diagnostic::new("no log was found in what --log names"));
    }
    let mut vars = IndexMap::new();
    vars.insert("ansible_connection".to_owned(), serde_json::Value::from("local"));
    let target = Target::from_vars("localhost", &vars, &Flags::default())?;
    let request = LogRequest { files, minutes: None, ..request(args, since, now) };
    Ok(BTreeMap::from([(LOGS.to_owned(), Place { target, request, local: true })]))
}

fn collect(path: &Path, files: &mut Vec<String>) -> Result<()> {
    let wrong =
        |error: &std::io::Error| Diagnostic::new(format!("`{}` cannot be read: {error}", path.display()));
    let about = std::fs::metadata(path).map_err(|error| wrong(&error))?;
    if !about.is_dir() {
        let whole = std::path::absolute(path).map_err(|error| wrong(&error))?;
        files.extend(whole.to_str().filter(|path| !path.contains('\n')).map(str::to_owned));
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
        .map_err(|error| wrong(&error))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    for entry in entries {
        // A link that leads nowhere, or a folder that is not ours, is no reason to stop.
        if std::fs::metadata(&entry).is_ok_and(|about| about.is_dir() || about.is_file()) {
            let _ = collect(&entry, files);
        }
    }
    Ok(())
}

type Scans = BTreeMap<String, std::result::Result<Logs, HostError>>;

/// Searches everywhere twice, and makes of it what it is.
async fn read_all(
    places: &BTreeMap<String, Place>,
    forks: usize,
    own_zone: TimeZone,
    now: Timestamp,
    events: &Events,
) -> (Found, BTreeMap<String, SourceReport>) {
    events(Event::ProbeStarted { hosts: places.len() });
    let requests = places.iter().map(|(name, place)| (name.clone(), place.request.clone())).collect();
    let first = search(places, requests, forks, Some(events)).await;
    let mut sources = BTreeMap::new();
    let mut found = Vec::new();
    let mut requests: BTreeMap<String, LogRequest> = BTreeMap::new();
    for (host, logs) in &first {
        let place = &places[host];
        let mut source = SourceReport::default();
        let logs = match logs {
            Ok(logs) => logs,
            Err(error) => {
                source.error = Some(fault(error));
                sources.insert(host.clone(), source);
                continue;
            }
        };
        let zone = zone(place, logs, &own_zone);
        source.zone = zone_name(&zone, now);
        source.unread = logs.unread.iter().cloned().collect();
        if logs.cut {
            source.cut.push("the oldest files".to_owned());
        }
        let ahead = logs.clock as f64 - Timestamp::now().as_second() as f64;
        source.clock_ahead = Some(ahead).filter(|ahead| {
            !place.local
                && logs.clock > 0
                && ahead.abs()
                    > APART
                        + f64::from(u32::try_from(place.request.deadline.as_secs()).unwrap_or(u32::MAX))
                            .min(60.0)
        });
        let mut spots: Vec<(Timestamp, u64, String)> = Vec::new();
        for matches in &logs.found {
            source.files += 1;
            source.bytes += matches.size.unwrap_or_default();
            if matches.cut {
                source.cut.push(matches.path.clone());
            }
            let read = incidents::read(
                &text(host, place, &matches.path, &zone, now, matches.lines.clone(), Part::Matches),
                &[],
            );
            source.lines += read.lines;
            source.skipped += read.skipped;
            let gave_up = read.events.iter().filter(|event| event.is_of_a_lost_call());
            spots.extend(gave_up.filter_map(|event| Some((event.at, event.offset?, matches.path.clone()))));
            spots.extend(read.loose.iter().map(|offset| (Timestamp::MAX, *offset, matches.path.clone())));
            found.extend(read.events);
        }
        spots.sort();
        let spots = spots.into_iter().rev().take(SPOTS).map(|(_, offset, path)| (offset, path)).collect();
        requests.insert(host.clone(), LogRequest { spots, ..place.request.clone() });
        sources.insert(host.clone(), source);
    }
    let (ids, earliest) = wanted(&found);
    for request in requests.values_mut() {
        request.patterns.clone_from(&ids);
        if let Some(earliest) = earliest {
            request.minutes = minutes(Some(earliest), now).filter(|_| request.files.is_empty());
            request.since = Some(earliest.as_second());
        }
    }
    requests.retain(|_, request| !request.patterns.is_empty() || !request.spots.is_empty());
    let second = search(places, requests, forks, None).await;
    for (host, logs) in &second {
        // What the first pass found stands without the second.
        let Ok(logs) = logs else { continue };
        let place = &places[host];
        let zone = zone(place, logs, &own_zone);
        for matches in &logs.found {
            let source = text(host, place, &matches.path, &zone, now, matches.lines.clone(), Part::Matches);
            found.extend(incidents::read(&source, &ids).events);
        }
        for (path, piece) in &logs.spots {
            found.extend(
                incidents::read(&text(host, place, path, &zone, now, piece.clone(), Part::Piece), &[]).events,
            );
        }
    }
    (incidents::find(found), sources)
}

/// No call waits longer for its reply than this, but for exotic settings.
const BEFORE: SignedDuration = SignedDuration::from_mins(15);

/// The requests of the newest lost calls, and when the earliest of these calls began.
fn wanted(events: &[incidents::Event]) -> (Vec<String>, Option<Timestamp>) {
    let mut calls: Vec<&incidents::Event> = events.iter().filter(|event| event.is_of_a_lost_call()).collect();
    calls.sort_by_key(|event| std::cmp::Reverse(event.at));
    let mut ids: Vec<String> = Vec::new();
    let mut earliest = None;
    for event in calls {
        if let Some(id) = &event.request
            && !ids.contains(id)
        {
            if ids.len() == REQUESTS {
                break;
            }
            ids.push(id.clone());
        }
        earliest = Some(event.at);
    }
    (ids, earliest.and_then(|at| at.checked_sub(BEFORE).ok()))
}

async fn search(
    places: &BTreeMap<String, Place>,
    requests: BTreeMap<String, LogRequest>,
    forks: usize,
    events: Option<&Events>,
) -> Scans {
    let room = Arc::new(Semaphore::new(forks.max(1)));
    let mut hosts = JoinSet::new();
    for (host, request) in requests {
        let (room, target, events) =
            (Arc::clone(&room), places[&host].target.clone(), events.map(Arc::clone));
        hosts.spawn(async move {
            let _place = room.acquire_owned().await.expect("the semaphore is never closed");
            let logs = async { scan(&transport::connect(&target).await?, &request).await }.await;
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

/// Lines as a source. On files of the command line the paths tell the hosts.
fn text(
    host: &str,
    place: &Place,
    path: &str,
    zone: &TimeZone,
    now: Timestamp,
    bytes: Vec<u8>,
    part: Part,
) -> Source {
    let shown = if place.local { relative(path) } else { path.to_owned() };
    Source {
        host: (!place.local).then(|| host.to_owned()),
        path: shown,
        zone: zone.clone(),
        read_at: now,
        bytes,
        part,
    }
}

/// The path as it is below the working folder, where it is.
fn relative(path: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    Path::new(path).strip_prefix(&here).map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}

fn zone(place: &Place, logs: &Logs, own: &TimeZone) -> TimeZone {
    if place.local {
        return own.clone();
    }
    TimeZone::get(&logs.zone).ok().or_else(|| when::offset(&logs.offset)).unwrap_or(TimeZone::UTC)
}

fn zone_name(zone: &TimeZone, now: Timestamp) -> String {
    zone.iana_name().map_or_else(|| now.to_zoned(zone.clone()).strftime("%:z").to_string(), str::to_owned)
}

/// Only what happened in the time that was asked for.
fn within(mut found: Found, since: Option<Timestamp>, until: Option<Timestamp>) -> Found {
    let inside =
        |at: Timestamp| since.is_none_or(|since| at >= since) && until.is_none_or(|until| at <= until);
    found.incidents.retain(|incident| {
        inside(incident.cut_at) || incident.calls.iter().any(|call| inside(call.gave_up_at))
    });
    found.others.retain(|other| inside(other.call.gave_up_at));
    found.survived.retain(|loss| inside(loss.at));
    found
}
