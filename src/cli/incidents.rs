//! `trueup incidents`.

mod reading;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use crate::audit::{Cluster, WindowRow};
use crate::cli::args::{Files, IncidentArgs, Subject};
use crate::cli::inputs::{self, Inputs};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::run;
use crate::error::{Diagnostic, Exit, HostError, Result};
use crate::incidents::{Found, PATTERNS, today, when};
use crate::probe::search::LogRequest;
use crate::probe::{self, Request};
use crate::report::incidents::{INCIDENT_FORMATS, IncidentReport, LOGS, SourceReport};
use crate::report::{HostFault, Style};
use crate::transport::{self, Flags, Target};
use reading::Reading;

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
    let moment = |typed: Option<&str>| typed.map(|typed| when::moment(typed, now, &own_zone)).transpose();
    let (since, until) = (moment(args.since.as_deref())?, moment(args.until.as_deref())?);
    if since.zip(until).is_some_and(|(since, until)| since > until) {
        return Err(Diagnostic::new("--since is later than --until"));
    }
    let with_inventory = args.log.is_empty() || (!args.reach.source.inventory.is_empty() && !args.no_audit);
    let inputs =
        if with_inventory { Some(inputs::read(&subject(&args), &args.reach, output)?) } else { None };
    let places = match &inputs {
        Some(inputs) if args.log.is_empty() => on_hosts(inputs, &args, since, now),
        _ => on_files(&args, since, now)?,
    };
    let cancel = run::interruptible(output);
    let progress = Progress::new();
    let reading = Reading { places: &places, forks: usize::from(args.reach.forks), own_zone, now };
    let events = progress.events();
    let (found, mut sources) = tokio::select! {
        read = reading.all(&events) => read,
        () = cancel.cancelled() => return Ok(Exit::Interrupted),
    };
    progress.clear();
    let mut found = within(found, since, until);
    let mut audited = false;
    // Without a lost call there is nothing that today's settings could lose again.
    if let Some(inputs) = inputs.filter(|_| !args.no_audit && !found.incidents.is_empty()) {
        let cluster = cluster(&inputs, &args, &cancel).await?;
        if cancel.is_cancelled() {
            return Ok(Exit::Interrupted);
        }
        let windows = windows(&inputs, &cluster, &mut sources);
        today::join(&mut found, &windows);
        audited = true;
    }
    let report = IncidentReport::new(started_at, (since, until), sources, found, audited);
    let width = u16::try_from(output.width()).unwrap_or(100);
    let style = Style { colour: output.colour(), width, diff: false, rows: None };
    let format = INCIDENT_FORMATS.iter().find(|format| format.name == args.format);
    let format = format.expect("the command line takes only known formats");
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

/// The facts of every host, without a word about each: the search has said who can be reached.
async fn cluster(inputs: &Inputs, args: &IncidentArgs, cancel: &CancellationToken) -> Result<Cluster> {
    if args.facts.is_some() {
        let progress = Progress::new();
        return run::cluster(inputs, args.facts.as_deref(), args.reach.forks, &progress, cancel).await;
    }
    let requests: Vec<Request> = inputs.hosts.values().map(|reached| reached.request.clone()).collect();
    let targets: Vec<Target> = inputs.hosts.values().map(|reached| reached.target.clone()).collect();
    let connect = |number: usize| {
        let target = targets[number].clone();
        async move { transport::connect(&target).await }
    };
    let silent: crate::event::Events = Arc::new(|_| {});
    Ok(tokio::select! {
        cluster = probe::probe_all(requests, args.reach.forks.into(), connect, &silent) => cluster,
        () = cancel.cancelled() => Cluster::new(),
    })
}

/// Today's windows of every host; a host about which nothing is known gets a word in its source.
fn windows(
    inputs: &Inputs,
    cluster: &Cluster,
    sources: &mut BTreeMap<String, SourceReport>,
) -> BTreeMap<String, Vec<WindowRow>> {
    let mut windows = BTreeMap::new();
    for (host, audit) in run::verdicts(inputs, cluster) {
        match audit {
            Ok(audit) => {
                windows.insert(host, audit.windows);
            }
            Err(error) => {
                if let Some(source) = sources.get_mut(&host).filter(|source| source.error.is_none()) {
                    source.audit_error = Some(fault(&error));
                }
            }
        }
    }
    windows
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
    inputs: &Inputs,
    args: &IncidentArgs,
    since: Option<Timestamp>,
    now: Timestamp,
) -> BTreeMap<String, Place> {
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
    inputs.hosts.iter().map(|(name, reached)| (name.clone(), place(reached))).collect()
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
        return Err(Diagnostic::new("there is no file in what --log names"));
    }
    let mut vars = IndexMap::new();
    vars.insert("ansible_connection".to_owned(), serde_json::Value::from("local"));
    let target = Target::from_vars("localhost", &vars, &Flags::default())?;
    // Copies have the times of the copying.
    let request = LogRequest { files, minutes: None, ..request(args, since, now) };
    Ok(BTreeMap::from([(LOGS.to_owned(), Place { target, request, local: true })]))
}

/// Every file below a path, by name.
fn collect(path: &Path, files: &mut Vec<String>) -> Result<()> {
    let wrong =
        |error: &std::io::Error| Diagnostic::new(format!("`{}` cannot be read: {error}", path.display()));
    let about = std::fs::metadata(path).map_err(|error| wrong(&error))?;
    if !about.is_dir() {
        let whole = std::path::absolute(path).map_err(|error| wrong(&error))?;
        // The search takes a path a line.
        files.extend(whole.to_str().filter(|path| !path.contains('\n')).map(str::to_owned));
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(|error| wrong(&error))?;
    let mut entries: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    for entry in entries {
        if std::fs::metadata(&entry).is_ok_and(|about| about.is_dir() || about.is_file()) {
            // A folder that is not ours is no reason to stop.
            let _ = collect(&entry, files);
        }
    }
    Ok(())
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
