//! `template`: a whole file of ours, its mode and its owner.

use sha2::{Digest as _, Sha256};

use super::{Arguments, Context, Kind, Module, Outcome, restart};
use crate::audit::{Finding, Level};
use crate::error::Result;
use crate::facts::Question;
use crate::facts::{FileFact, Reading};
use crate::plan::{Action, Change};

/// `template: {src: x.conf.j2, dest: /etc/x.conf, mode: "0644", validate: "check %s", restart: [x]}`
pub const KIND: Kind = Kind {
    name: "template",
    aliases: &["ansible.builtin.template", "ansible.legacy.template", "ansible.builtin.copy", "copy"],
    arguments: &["src", "content", "dest", "mode", "owner", "group", "validate", "restart"],
    summary: "a file holds exactly what the template renders",
    parse,
};

#[derive(Debug)]
struct Template {
    content: String,
    dest: String,
    mode: Option<u32>,
    owner: Option<String>,
    group: Option<String>,
    validate: Option<Vec<String>>,
    restart: Vec<String>,
}

fn parse(arguments: &Arguments) -> Result<Box<dyn Module>> {
    let content = arguments.source()?.text;
    arguments.required("dest")?;
    let validate = arguments.words("validate")?;
    if validate.as_ref().is_some_and(|words| !words.iter().any(|word| word.contains("%s"))) {
        return Err(arguments
            .error("validate", "`validate` does not name the new file")
            .hint("write `%s` where its path goes"));
    }
    Ok(Box::new(Template {
        content,
        dest: arguments.path("dest")?.expect("required above"),
        mode: arguments.mode("mode")?,
        owner: arguments.text("owner")?,
        group: arguments.text("group")?,
        validate,
        restart: arguments.list("restart")?.unwrap_or_default(),
    }))
}

impl Template {
    /// How the file differs from what it should be: what is expected and what is, for each difference.
    fn differences(&self, file: &FileFact) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if hex::encode(Sha256::digest(&self.content)) != file.sha256 {
            found.push(("the template's content".to_owned(), "another content".to_owned()));
        }
        if let Some(mode) = self.mode.filter(|mode| *mode != file.mode) {
            found.push((format!("mode {mode:04o}"), format!("mode {:04o}", file.mode)));
        }
        for (what, wanted, is) in [("owner", &self.owner, &file.owner), ("group", &self.group, &file.group)] {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != is) {
                found.push((format!("{what} {wanted}"), format!("{what} {is}")));
            }
        }
        found
    }
}

impl Module for Template {
    fn questions(&self) -> Vec<Question> {
        vec![Question::File(self.dest.clone())]
    }

    fn check(&self, context: &Context<'_>) -> Outcome {
        let finding = |level| Finding::new(context.task, level, &self.dest);
        let write = |finding: Finding| {
            let owes = restart::owed(&context.named(&self.restart));
            let action = Action::WriteFile {
                path: self.dest.clone(),
                content: self.content.clone(),
                mode: self.mode,
                owner: self.owner.clone(),
                group: self.group.clone(),
                validate: self.validate.clone(),
            };
            let change = Change { task: context.task.id.clone(), action, owes };
            Outcome::Checked { findings: vec![finding.automatic("write the file")], changes: vec![change] }
        };
        match context.facts.files.get(&self.dest) {
            None => {
                Outcome::unknown(finding(Level::File).unknown("the template's content", "it was not read"))
            }
            Some(Reading::Unknown(reason)) => {
                Outcome::unknown(finding(Level::File).unknown("the template's content", reason))
            }
            Some(Reading::Absent) => {
                let finding = finding(Level::File).differs("the template's content", "no such file");
                write(finding.evidence(&self.dest, "absent"))
            }
            Some(Reading::Known(file)) => match self.differences(file) {
                differences if differences.is_empty() => {
                    let readers = context.named(&self.restart);
                    let (findings, changes) =
                        restart::stale(context, &readers, &[(&self.dest, file.modified_at)]);
                    Outcome::Checked { findings, changes }
                }
                differences => {
                    let (expected, actual): (Vec<_>, Vec<_>) = differences.into_iter().unzip();
                    let actual = actual.join(", ");
                    let evidence = format!(
                        "{} bytes, {:04o} {}:{}",
                        file.content.len(),
                        file.mode,
                        file.owner,
                        file.group
                    );
                    write(
                        finding(Level::File)
                            .differs(expected.join(", "), actual)
                            .evidence(&self.dest, evidence),
                    )
                }
            },
        }
    }
}
