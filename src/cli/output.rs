//! Standard output is the answer, standard error the conversation.

use std::io::{IsTerminal as _, Write as _};

use crate::error::Diagnostic;

/// Where answers and messages go, and whether in colour.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    colour: bool,
}

impl Output {
    /// Colour is used on a terminal, unless `--no-color` or `NO_COLOR` (<https://no-color.org>) says no.
    pub fn new(no_color: bool) -> Self {
        let asked_not_to = no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: !asked_not_to }
    }

    /// Colour in answers?
    pub fn colour(self) -> bool {
        self.colour && std::io::stdout().is_terminal()
    }

    /// Colour in messages?
    pub fn colour_on_stderr(self) -> bool {
        self.colour && std::io::stderr().is_terminal()
    }

    /// Columns of the terminal; 100 where the answer goes into a file or pipe.
    pub fn width(self) -> usize {
        let columns =
            dialoguer::console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
        columns.map_or(100, |columns| columns.clamp(60, 140))
    }

    /// Lines of the terminal; `None` where the answer goes into a file or pipe.
    pub fn rows(self) -> Option<u16> {
        dialoguer::console::Term::stdout().size_checked().map(|(rows, _)| rows)
    }

    /// Prints a part of the answer. A reader that has gone away (`| head`) is no error.
    pub fn answer(self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }

    /// Says something to the person in front.
    pub fn say(self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Shows a mistake with its place and hints.
    pub fn error(self, error: &Diagnostic) {
        self.say(&error.render(self.colour_on_stderr()));
    }

    /// Shows something that is not as it should be and does not stop the run.
    pub fn warning(self, warning: &Diagnostic) {
        self.say(&warning.render_as(crate::error::Rank::Warning, self.colour_on_stderr()));
    }
}
