//! Events on standard error: bars on a terminal, plain lines elsewhere. Nothing else uses indicatif.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::answers::Journal;
use crate::event::{Event, Events};

/// Shows events until it is dropped.
pub struct Progress {
    bars: MultiProgress,
    /// The bar of what is under way: hosts of a probe, or steps of a batch.
    current: Mutex<Option<ProgressBar>>,
    terminal: bool,
    /// Where it is written down too.
    journal: Option<Arc<Journal>>,
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
        Arc::new(Self {
            bars: MultiProgress::with_draw_target(target),
            current: Mutex::new(None),
            terminal,
            journal,
        })
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
            Event::Probed { host, error } => {
                self.advance(1);
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
            Event::StepStarted { host, step } => self.message(&format!("{host}: {step}")),
            Event::StepDone { host, step, changed, took } => {
                self.advance(1);
                let done = if *changed { "done" } else { "nothing to do" };
                self.line(&format!("{host}: {step}: {done} ({})", seconds(*took)));
            }
            Event::StepFailed { host, step, reason } => {
                self.line(&format!("{host}: {step}: FAILED: {reason}"));
            }
            Event::Waiting { host, awaited, seen } => {
                let text = format!("{host}: waiting for {awaited}; now: {seen}");
                if self.terminal { self.message(&text) } else { self.line(&text) }
            }
            Event::RollingBack { host } => self.line(&format!("{host}: putting everything back")),
            Event::RolledBack { host, error: None } => self.line(&format!("{host}: everything is back")),
            Event::RolledBack { host, error: Some(error) } => {
                self.line(&format!("{host}: NOT everything is back: {error}"));
            }
            // The report says it all.
            Event::HostEnded(_) => {}
            Event::Note { host: Some(host), text } => self.line(&format!("{host}: {text}")),
            Event::Note { host: None, text } => self.line(text),
        }
    }

    fn start(&self, length: usize, what: &str) {
        self.finish();
        let style = ProgressStyle::with_template("{prefix:>12} [{bar:24}] {pos}/{len} {elapsed} {wide_msg}")
            .expect("the template is constant")
            .progress_chars("=> ");
        let bar =
            self.bars.add(ProgressBar::new(length as u64).with_style(style).with_prefix(what.to_owned()));
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.current.lock().expect("no holder panics") = Some(bar);
    }

    fn finish(&self) {
        if let Some(bar) = self.current.lock().expect("no holder panics").take() {
            bar.finish_and_clear();
        }
    }

    fn advance(&self, by: u64) {
        if let Some(bar) = &*self.current.lock().expect("no holder panics") {
            bar.inc(by);
        }
    }

    fn message(&self, text: &str) {
        if let Some(bar) = &*self.current.lock().expect("no holder panics") {
            bar.set_message(text.to_owned());
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
