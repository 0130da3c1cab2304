//! Where the answer of a run goes: one format on standard output, and any number of `--report FORMAT=FILE`.
//!
//! What cannot be written is found out before any host is touched; what is written is whole or not there.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tempfile::NamedTempFile;

use crate::cli::output::Output;
use crate::cli::run::now;
use crate::error::{Diagnostic, Exit, Result};
use crate::event::Event;
use crate::report::{self, FORMATS, Format, Report, Style};

/// Where the answer of one run goes.
pub struct Answers {
    format: &'static Format,
    files: Vec<Target>,
    journal: Option<Arc<Journal>>,
    output: Output,
    started: Instant,
    /// Nothing on standard output.
    quiet: bool,
}

/// A file that a report is written to.
#[derive(Debug)]
struct Target {
    format: &'static Format,
    /// As the user named it.
    name: String,
    /// Where it is, symbolic links followed.
    path: PathBuf,
    /// The new content, beside it.
    new: NamedTempFile,
}

impl Answers {
    /// Where the answer goes: in `format` on standard output, and into the files of `--report`; the run also
    /// writes the files `taken`.
    pub fn prepare(format: &str, reports: &[String], taken: &[&Path], output: Output) -> Result<Self> {
        let mut paths: Vec<PathBuf> = taken.iter().map(|path| located(path)).collect();
        let mut files = Vec::new();
        for argument in reports {
            let target = Target::prepare(argument)?;
            if paths.contains(&target.path) {
                return Err(Diagnostic::new(format!("`{}` would be two files of this run", target.name))
                    .hint("give each --report a file of its own"));
            }
            paths.push(target.path.clone());
            files.push(target);
        }
        let format = report::format(format).expect("the command line takes only known formats");
        let events = |format: &Format| format.event.is_some();
        let told = events(format) || files.iter().any(|target| events(target.format));
        let journal =
            told.then(|| Arc::new(Journal { live: format.event, output, happened: Mutex::new(Vec::new()) }));
        Ok(Self { format, files, journal, output, started: Instant::now(), quiet: false })
    }

    /// Where the formats that tell events want them.
    pub fn journal(&self) -> Option<Arc<Journal>> {
        self.journal.clone()
    }

    /// The same without standard output: only the files are written.
    pub fn silent(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// Gives the answer, and says how the run ended. A report that cannot be written in the end keeps no other
    /// from being written.
    pub fn give(self, mut report: Report, diff: bool) -> Exit {
        let Self { format, files, journal, output, started, quiet } = self;
        report.seconds = Some((started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
        let width = u16::try_from(output.width()).unwrap_or(100);
        if !quiet {
            output.answer(&(format.write)(
                &report,
                Style { colour: output.colour(), width, diff, rows: output.rows() },
            ));
        }
        let mut exit = report.exit();
        for target in files {
            let mut text = String::new();
            if let (Some(write), Some(journal)) = (target.format.event, &journal) {
                journal.happened.lock().expect("no holder panics").iter().for_each(|(at, event)| {
                    text.push_str(&write(at, event));
                });
            }
            text.push_str(&(target.format.write)(&report, Style { diff: true, ..Style::default() }));
            if let Err(error) = target.put(&text) {
                output.error(&error);
                exit = exit.worst(Exit::Broken);
            }
        }
        exit
    }
}

/// What happened in a run, for the formats that tell it.
pub struct Journal {
    /// How events are written on standard output, if they are.
    live: Option<fn(&str, &Event) -> String>,
    output: Output,
    happened: Mutex<Vec<(String, Event)>>,
}

impl Journal {
    /// Writes down what has just happened.
    pub fn note(&self, event: &Event) {
        let at = now();
        if let Some(write) = self.live {
            self.output.answer(&write(&at, event));
        }
        self.happened.lock().expect("no holder panics").push((at, event.clone()));
    }
}

impl Target {
    /// The target that `FORMAT=FILE` names, with its new content begun beside it.
    fn prepare(argument: &str) -> Result<Self> {
        let Some((word, name)) = argument.split_once('=') else {
            return Err(Diagnostic::new(format!("`--report {argument}` names no file"))
                .hint(format!("write it as --report {argument}=FILE")));
        };
        let format = report::format(word).ok_or_else(|| {
            Diagnostic::new(format!("`--report {argument}`: no format `{word}`"))
                .suggest(word, FORMATS.iter().map(|format| format.name))
        })?;
        let fault = |reason: &dyn std::fmt::Display| {
            Diagnostic::new(format!("`--report {argument}`: `{name}` cannot be written: {reason}"))
        };
        if name.is_empty() || name == "-" {
            return Err(Diagnostic::new(format!("`--report {argument}` names no file"))
                .hint(format!("--format {word} writes to standard output")));
        }
        let path = located(Path::new(name));
        let before = std::fs::metadata(&path).ok();
        if before.as_ref().is_some_and(|known| !known.is_file()) || name.ends_with('/') {
            return Err(fault(&"it is not a file"));
        }
        let new = tempfile::Builder::new()
            .prefix(".trueup-")
            // As any other program would create it: node_exporter reads as another user.
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(folder(&path))
            .map_err(|error| {
                let fault = fault(&error);
                if name.starts_with("~/") {
                    return fault.hint("no shell expands `~` after `=`; write $HOME");
                }
                fault
            })?;
        if let Some(known) = before {
            new.as_file().set_permissions(known.permissions()).map_err(|error| fault(&error))?;
        }
        Ok(Self { format, name: name.to_owned(), path, new })
    }

    /// Puts the text in the place of the file.
    fn put(mut self, text: &str) -> Result<()> {
        let fault = |error: &dyn std::fmt::Display| {
            Diagnostic::new(format!("`{}` could not be written: {error}", self.name))
                .hint("what stood there before still stands there")
        };
        let written = self.new.write_all(text.as_bytes()).and_then(|()| self.new.as_file().sync_all());
        written.map_err(|error| fault(&error))?;
        self.new.persist(&self.path).map_err(|error| fault(&error.error))?;
        Ok(())
    }
}

/// The file itself, where the path is a symbolic link or goes through one; so that two names of one file are equal.
fn located(path: &Path) -> PathBuf {
    if let Ok(whole) = path.canonicalize() {
        return whole;
    }
    match (folder(path).canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_path_buf(),
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
