//! Events on standard error: bars and a table of the hosts under way on a terminal, plain lines elsewhere. Nothing
//! else uses indicatif.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::answers::Journal;
use crate::event::{Event, Events};

/// So many hosts under way are shown, those that take longest: the rest of the screen is the reader's.
const ROWS: usize = 8;

/// Shows events until it is dropped.
pub struct Progress {
    bars: MultiProgress,
    shown: Mutex<Shown>,
    terminal: bool,
    /// Where it is written down too.
    journal: Option<Arc<Journal>>,
}

/// What is on the screen.
#[derive(Default)]
struct Shown {
    /// The bar of what is under way: hosts of a probe, or steps of a batch.
    bar: Option<ProgressBar>,
    /// Hosts under way, the one that began first at the top.
    hosts: IndexMap<String, Row>,
    /// Hosts that could not be read.
    failed: usize,
    /// The last line about what each host waits for, and when.
    waiting: BTreeMap<String, (Instant, String)>,
}

/// How long the same line need not be said again.
const SAME_FOR: Duration = Duration::from_secs(10);

/// Is a line about a wait worth saying? Not where it is the last one again, but for its numbers: seconds go by,
/// and connections come back one by one.
fn is_news(last: Option<&(Instant, String)>, text: &str, now: Instant) -> bool {
    let steady = |text: &str| -> String { text.chars().filter(|c| !c.is_ascii_digit()).collect() };
    last.is_none_or(|(at, said)| now.duration_since(*at) >= SAME_FOR || steady(said) != steady(text))
}

/// A host under way.
struct Row {
    since: Instant,
    doing: String,
    /// Its line, where there is room for it.
    line: Option<ProgressBar>,
}

impl Progress {
    /// For standard error as it is: a terminal, or a pipe.
    pub fn new() -> Arc<Self> {
        Self::noted(None)
    }

    /// The same, with every event written down as well.
    pub fn noted(journal: Option<Arc<Journal>>) -> Arc<Self> {
        let terminal =
            std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bars = MultiProgress::with_draw_target(target);
        Arc::new(Self { bars, shown: Mutex::default(), terminal, journal })
    }

    /// Where the work sends its events.
    pub fn events(self: &Arc<Self>) -> Events {
        let progress = self.clone();
        Arc::new(move |event| {
            if let Some(journal) = &progress.journal {
                progress.bars.suspend(|| journal.note(&event));
            }
            progress.show(&event);
        })
    }

    /// Takes the bars off the screen before the answer is printed.
    pub fn clear(&self) {
        self.finish();
        // A screen that cannot be cleared is not worth failing for.
        let _ = self.bars.clear();
    }

    fn show(&self, event: &Event) {
        match event {
            Event::ProbeStarted { hosts } => self.start(*hosts, "reading hosts"),
            Event::Probing { host } => self.under_way(host, "reading"),
            Event::Probed { host, error } => {
                self.shown().failed += usize::from(error.is_some());
                self.advance();
                self.leave(host);
                match error {
                    None if self.terminal => {}
                    None => self.line(&format!("{host}: read")),
                    Some(error) => {
                        let hint = error.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
                        self.line(&format!("{host}: {error}{hint}"));
                    }
                }
            }
            Event::BatchStarted { number, of, hosts, steps } => {
                self.line(&format!("batch {number} of {of}: {}", hosts.join(", ")));
                self.start(*steps, &format!("batch {number}/{of}"));
            }
            Event::StepStarted { host, step } => self.under_way(host, step),
            Event::StepDone { host, step, changed, took } => {
                self.shown().waiting.remove(host);
                self.advance();
                let done = if *changed { "done" } else { "nothing to do" };
                self.line(&format!("{host}: {step}: {done} ({})", seconds(*took)));
            }
            Event::StepFailed { host, step, reason } => {
                self.line(&format!("{host}: {step}: FAILED: {reason}"));
            }
            Event::Refused { host, reason } => {
                self.line(&format!("{host}: refused, nothing was changed: {reason}"));
            }
            Event::Waiting { host, awaited, seen } => {
                let text = format!("waiting for {awaited}; now: {seen}");
                if self.terminal {
                    self.under_way(host, &text);
                    return;
                }
                let (mut shown, now) = (self.shown(), Instant::now());
                if is_news(shown.waiting.get(host), &text, now) {
                    shown.waiting.insert(host.clone(), (now, text.clone()));
                    drop(shown);
                    self.line(&format!("{host}: {text}"));
                }
            }
            Event::RollingBack { host } => {
                self.under_way(host, "putting everything back");
                self.line(&format!("{host}: putting everything back"));
            }
            Event::RolledBack { host, error: None } => self.line(&format!("{host}: everything is back")),
            Event::RolledBack { host, error: Some(error) } => {
                self.line(&format!("{host}: NOT everything is back: {error}"));
            }
            // The report says the rest.
            Event::HostEnded(outcome) => self.leave(&outcome.host),
            Event::Note { host: Some(host), text } => self.line(&format!("{host}: {text}")),
            Event::Note { host: None, text } => self.line(text),
        }
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().expect("no holder panics")
    }

    fn start(&self, length: usize, what: &str) {
        self.finish();
        let style = ProgressStyle::with_template("{prefix:>13} [{bar:24}] {pos}/{len} {elapsed} {wide_msg}")
            .expect("the template is constant")
            .progress_chars("=> ");
        let bar =
            self.bars.add(ProgressBar::new(length as u64).with_style(style).with_prefix(what.to_owned()));
        bar.enable_steady_tick(Duration::from_millis(200));
        self.shown().bar = Some(bar);
    }

    fn finish(&self) {
        let shown = std::mem::take(&mut *self.shown());
        let lines = shown.hosts.into_values().filter_map(|row| row.line);
        for bar in lines.chain(shown.bar) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    /// A host does something; it has a line of its own as long as there is room.
    fn under_way(&self, host: &str, doing: &str) {
        let mut shown = self.shown();
        let row = shown.hosts.entry(host.to_owned()).or_insert_with(|| Row {
            since: Instant::now(),
            doing: String::new(),
            line: None,
        });
        doing.clone_into(&mut row.doing);
        if let Some(line) = &row.line {
            line.set_message(row.doing.clone());
        }
        self.fill(&mut shown);
    }

    /// A host's turn is over.
    fn leave(&self, host: &str) {
        let mut shown = self.shown();
        if let Some(line) = shown.hosts.shift_remove(host).and_then(|row| row.line) {
            line.finish_and_clear();
            self.bars.remove(&line);
        }
        self.fill(&mut shown);
    }

    /// Gives the hosts that have been under way longest a line each, and says how many there are.
    fn fill(&self, shown: &mut Shown) {
        let free = ROWS.saturating_sub(shown.hosts.values().filter(|row| row.line.is_some()).count());
        let style = || {
            ProgressStyle::with_template("{prefix:>13} {elapsed:>4} {wide_msg}")
                .expect("the template is constant")
        };
        for (host, row) in shown.hosts.iter_mut().filter(|(_, row)| row.line.is_none()).take(free) {
            let line = ProgressBar::new_spinner()
                .with_style(style())
                .with_prefix(host.clone())
                .with_message(row.doing.clone())
                .with_elapsed(row.since.elapsed());
            let line = self.bars.add(line);
            line.enable_steady_tick(Duration::from_millis(500));
            row.line = Some(line);
        }
        if let Some(bar) = &shown.bar {
            let more = shown.hosts.values().filter(|row| row.line.is_none()).count();
            let below = if more > 0 { format!(" ({ROWS} shown)") } else { String::new() };
            let mut parts = vec![format!("{} under way{below}", shown.hosts.len())];
            if shown.failed > 0 {
                parts.push(format!("{} not read", shown.failed));
            }
            bar.set_message(parts.join(", "));
        }
    }

    fn advance(&self) {
        if let Some(bar) = &self.shown().bar {
            bar.inc(1);
        }
    }

    /// One line above the bars. `println` of indicatif prints nothing off a terminal, so it is not used.
    fn line(&self, text: &str) {
        self.bars.suspend(|| {
            // Standard error may be closed; the work goes on.
            let _ = writeln!(std::io::stderr(), "{text}");
        });
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_awaited_is_said_again_when_it_changes_or_every_ten_seconds() {
        let start = Instant::now();
        let said = (start, "waiting for cinder-volume.service up for 10 s; now: 0 s".to_owned());
        let check = |text: &str, seconds: u64, expected: bool| {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(is_news(Some(&said), text, now), expected, "{text} after {seconds} s");
        };
        assert!(is_news(None, &said.1, start));
        check(&said.1, 3, false);
        check("waiting for cinder-volume.service up for 10 s; now: 3 s", 3, false);
        check("waiting for cinder-volume.service up for 10 s; now: 9 s", 10, true);
        check("waiting for cinder-volume.service active; now: failed (failed)", 3, true);
        check("waiting for cinder-scheduler.service up for 10 s; now: 0 s", 3, true);
    }
}
