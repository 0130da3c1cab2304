//! `command`: a read-only check of the playbook's own, with the answer it expects.

use regex::Regex;

use super::{Arguments, Context, Kind, Module, Outcome};
use crate::audit::{Finding, Level};
use crate::cmd::Cmd;
use crate::error::Result;
use crate::facts::CommandFact;
use crate::facts::Question;

/// `command: {argv: [...], rc: 0, stdout: "...", matches: "..."}`
pub const KIND: Kind = Kind {
    name: "command",
    aliases: &["ansible.builtin.command", "ansible.legacy.command"],
    arguments: &["argv", "cmd", "rc", "stdout", "matches", "mend"],
    summary: "a read-only command answers as expected",
    parse,
};

#[derive(Debug)]
struct Command {
    argv: Vec<String>,
    rc: i64,
    stdout: Option<String>,
    matches: Option<Regex>,
    mend: Option<String>,
}

fn parse(arguments: &Arguments) -> Result<Box<dyn Module>> {
    let argv = match (arguments.words("argv")?, arguments.words("cmd")?) {
        (Some(argv), None) | (None, Some(argv)) => argv,
        (None, None) => return Err(arguments.error("argv", "`argv` or `cmd` is missing")),
        (Some(_), Some(_)) => return Err(arguments.error("cmd", "`argv` and `cmd` exclude each other")),
    };
    let matches = arguments.text("matches")?.map(|pattern| {
        Regex::new(&pattern).map_err(|error| {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            arguments.error("matches", format!("`{pattern}` is not a regular expression: {last}"))
        })
    });
    Ok(Box::new(Command {
        argv,
        rc: arguments.integer("rc")?.unwrap_or(0),
        stdout: arguments.text("stdout")?,
        matches: matches.transpose()?,
        mend: arguments.text("mend")?,
    }))
}

impl Command {
    /// The command line: what its answer is found under, and what the report shows.
    fn line(&self) -> String {
        Cmd::new(self.argv.iter().cloned()).shell_line()
    }

    fn expected(&self) -> String {
        let mut parts = vec![format!("exit {}", self.rc)];
        parts.extend(self.stdout.as_ref().map(|text| format!("prints `{}`", text.trim_end())));
        parts.extend(self.matches.as_ref().map(|pattern| format!("prints what matches `{pattern}`")));
        parts.join(", ")
    }

    /// What is wrong with the answer; `None`: nothing.
    fn wrong(&self, answer: &CommandFact) -> Option<String> {
        if i64::from(answer.status) != self.rc {
            let said = answer.stderr.trim().lines().last().unwrap_or_default();
            let said = if said.is_empty() { String::new() } else { format!(": {said}") };
            return Some(format!("exit {}{said}", answer.status));
        }
        let differs = self.stdout.as_ref().is_some_and(|text| text.trim_end() != answer.stdout.trim_end())
            || self.matches.as_ref().is_some_and(|pattern| !pattern.is_match(&answer.stdout));
        differs.then(|| match answer.stdout.trim().lines().next() {
            Some(first) => format!("prints `{first}`"),
            None => "prints nothing".to_owned(),
        })
    }
}

impl Module for Command {
    fn questions(&self) -> Vec<Question> {
        vec![Question::Command { id: self.line(), argv: self.argv.clone() }]
    }

    fn check(&self, context: &Context<'_>) -> Outcome {
        let line = self.line();
        let finding = || {
            let finding = Finding::new(context.task, Level::Running, &self.argv[0]);
            finding.manual(self.mend.clone().unwrap_or_else(|| format!("see what `{line}` says on the host")))
        };
        let finding = match context.facts.commands.get(&line) {
            None => Some(finding().unknown(self.expected(), "the command was not run")),
            // 124: it did not end in time; 126, 127: there is no such program. Neither answers the question.
            Some(answer)
                if [124, 126, 127].contains(&answer.status) && i64::from(answer.status) != self.rc =>
            {
                let reason = match answer.status {
                    124 => "the command did not end in time",
                    _ => "the command could not be run",
                };
                Some(finding().unknown(self.expected(), reason).evidence(&line, answer.stderr.trim()))
            }
            Some(answer) => self
                .wrong(answer)
                .map(|actual| finding().differs(self.expected(), &actual).evidence(&line, actual)),
        };
        Outcome::Checked { findings: finding.into_iter().collect(), changes: Vec::new() }
    }
}
