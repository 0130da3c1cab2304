//! `--format markdown`: GitHub's dialect, for tickets, wikis and merge requests.

use super::human::windows::COLUMNS;
use super::view::{Changes, Chapter, Drift, Entry, Toned, View, Waiver, view};
use super::{Report, Style};

/// So many hosts with their own changes are told; `--format json` has them all.
const SHOWN: usize = 20;

/// So many differences stand in the table.
const ROWS: usize = 100;

/// A report as Markdown.
pub(super) fn write(report: &Report, _style: Style) -> String {
    let view = view(report);
    let mut out = Page(String::new());
    head(&mut out, &view);
    if let Some(drift) = &view.drift {
        differences(&mut out, drift);
    }
    tables(&mut out, &view);
    if !view.chapters.is_empty() {
        out.part("## Findings");
    }
    for one in &view.chapters {
        chapter(&mut out, one);
    }
    if !view.waivers.is_empty() {
        out.part("## Waivers");
        let text: String = view.waivers.iter().map(waiver).collect();
        out.part(&text);
    }
    if !view.changes.is_empty() {
        out.part("## Changes");
    }
    for one in view.changes.iter().take(SHOWN) {
        changes(&mut out, one);
    }
    if view.changes.len() > SHOWN {
        out.part(&format!("and {} more groups of hosts with their own changes.", view.changes.len() - SHOWN));
    }
    if let Some(command) = &view.undo {
        out.part(&format!("Undo: {}", code(command)));
    }
    if let Some(next) = &view.next {
        out.part(&format!("Next: {}", prose(next)));
    }
    out.0
}

/// Parts with an empty line between them.
struct Page(String);

impl Page {
    fn part(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(text.trim_end());
        self.0.push('\n');
    }

    fn table<'a>(&mut self, titles: &[String], rows: impl Iterator<Item = Vec<String>> + 'a) {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(titles);
        text.push_str(&line(&vec!["---".to_owned(); titles.len()]));
        rows.for_each(|row| text.push_str(&line(&row)));
        self.part(&text);
    }
}

fn head(out: &mut Page, view: &View<'_>) {
    out.part(&format!("# trueup {}", prose(view.command)));
    let playbook = view.playbook.map(|name| format!(", playbook {}", code(name))).unwrap_or_default();
    let took = view.took.as_ref().map(|took| format!(", {took}")).unwrap_or_default();
    out.part(&format!("{}{took}{playbook}, trueup {}", prose(view.started_at), prose(view.trueup)));
    let text = prose(&view.answer.text);
    out.part(format!("**{}.** {text}", prose(&view.answer.headline)).trim_end());
    for line in &view.answer.more {
        out.part(&prose(line));
    }
    out.part(&prose(&view.counts));
}

fn tables(out: &mut Page, view: &View<'_>) {
    let cells = |cells: &[Toned]| cells.iter().map(|cell| cell_text(&cell.text)).collect::<Vec<String>>();
    if !view.matrix.is_empty() {
        if view.drift.is_some() {
            out.part("## Hosts and tasks");
        }
        let titles: Vec<String> =
            std::iter::once("host".to_owned()).chain(view.tasks.iter().map(|task| cell_text(task))).collect();
        let rows = view.matrix.iter().map(|row| {
            std::iter::once(cell_text(&row.hosts)).chain(cells(&row.cells)).collect::<Vec<String>>()
        });
        out.table(&titles, rows);
    }
    for (task, reason) in &view.absent {
        out.part(&format!("{} is not applicable: {}", prose(task), prose(reason)));
    }
    if !view.windows.is_empty() {
        let titles: Vec<String> = std::iter::once("connections".to_owned())
            .chain(COLUMNS.iter().map(|column| column.title.to_owned()))
            .collect();
        let rows = view.windows.iter().map(|window| {
            let whose = window.whose.iter().map(|line| cell_text(line)).collect::<Vec<_>>().join("<br>");
            std::iter::once(whose).chain(cells(&window.cells)).collect::<Vec<String>>()
        });
        out.part("## Detection windows");
        out.table(&titles, rows);
    }
}

/// What differs: a table of all of it, then of each difference what says so and its change.
fn differences(out: &mut Page, drift: &Drift<'_>) {
    out.part("## What differs");
    let baselines: Vec<String> = drift
        .baselines
        .iter()
        .map(|(saved, hosts)| format!("{} at {}", prose(hosts), prose(saved)))
        .collect();
    out.part(&match baselines.as_slice() {
        [] => "No verified run has left a baseline to compare with.".to_owned(),
        some => format!("Compared with what the last verified run left: {}.", some.join("; ")),
    });
    let all = || drift.causes.iter().flat_map(|cause| &cause.differences);
    if all().next().is_none() {
        out.part("Nothing differs.");
        return;
    }
    let titles = ["whose doing", "on", "what", "was, or should be", "is", "breaks"].map(str::to_owned);
    let rows = all().take(ROWS).map(|one| {
        let value = |known: fn(&str) -> bool| one.values.iter().find(|(label, _)| known(label));
        let text = |value: Option<&(&str, &str)>| value.map_or_else(String::new, |(_, text)| cell_text(text));
        let waived = one.waived.as_ref().map(|waived| format!(" ({waived})")).unwrap_or_default();
        vec![
            cell_text(&format!("{}{waived}", one.whose)),
            cell_text(&one.hosts),
            cell_text(&format!("{} {}", one.kind, one.subject)),
            text(value(|label| label != "is")),
            text(value(|label| label == "is")),
            cell_text(&one.breaks.join(", ")),
        ]
    });
    out.table(&titles, rows);
    let left = all().count().saturating_sub(ROWS);
    if left > 0 {
        out.part(&format!("and {left} more; `--format json` has them all."));
    }
    for one in all().take(SHOWN) {
        let on = if one.hosts == one.subject { String::new() } else { format!(" on {}", prose(&one.hosts)) };
        let mut text = format!("**{}**{on}, because:\n\n", prose(one.subject));
        for (source, reason) in &one.evidence {
            let of = if one.of.is_empty() { String::new() } else { format!(" (on {})", prose(one.of)) };
            text.push_str(&format!("- {}: {}{of}\n", code(source), prose(reason)));
        }
        if !one.evidence.is_empty() {
            out.part(&text);
        }
        if !one.diff.is_empty() {
            fenced(out, one.diff);
        }
    }
}

fn chapter(out: &mut Page, chapter: &Chapter<'_>) {
    out.part(&format!("### {}: {} ({})", chapter.severity, prose(chapter.title), code(chapter.task)));
    out.part(&prose(chapter.why));
    let entries: String = chapter.entries.iter().map(|one| entry(one, chapter.severity)).collect();
    out.part(&entries);
}

fn entry(entry: &Entry, severity: &str) -> String {
    let mut about = Vec::new();
    if entry.severity != severity {
        about.push(entry.severity.to_owned());
    }
    about.push(entry.levels.join(", "));
    let mut text =
        format!("- **{}** ({} on {})\n", prose(&entry.what), about.join(", "), prose(&entry.hosts));
    for (label, value) in &entry.values {
        text.push_str(&format!("  - {label}: {}\n", prose(value)));
    }
    for place in &entry.places {
        text.push_str(&format!("  - where: {}\n", code(place)));
    }
    text.push_str(&format!("  - {}: {}\n", entry.remedy, prose(&entry.mend)));
    text
}

fn waiver(waiver: &Waiver<'_>) -> String {
    let Waiver { label, task, hosts, until, owner, reason, source, what, .. } = waiver;
    let what = if what.is_empty() { String::new() } else { format!(" ({})", prose(what)) };
    let on = if hosts.is_empty() { String::new() } else { format!(" on {}", prose(hosts)) };
    format!(
        "- **{label}**, until {}: {}{on}{what}; {} says: {} ({})\n",
        prose(until),
        code(task),
        prose(owner),
        prose(reason),
        code(source)
    )
}

fn changes(out: &mut Page, changes: &Changes<'_>) {
    out.part(&format!("### {} {}", changes.verb, prose(&changes.on)));
    let mut text = String::new();
    for (number, step) in changes.steps.iter().enumerate() {
        let outcome = if changes.mixed { format!("{}: ", step.outcome) } else { String::new() };
        let tasks =
            if step.tasks.is_empty() { String::new() } else { format!(" ({})", step.tasks.join(", ")) };
        let reason = step.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        text.push_str(&format!(
            "{}. {outcome}{}\n",
            number + 1,
            prose(&format!("{}{tasks}{reason}", step.what))
        ));
    }
    out.part(&text);
    for (text, hosts) in changes.steps.iter().flat_map(|step| &step.diffs) {
        if !hosts.is_empty() {
            out.part(&format!("On {}:", prose(hosts)));
        }
        fenced(out, text);
    }
}

/// A diff.
fn fenced(out: &mut Page, text: &str) {
    let text = visible(text);
    let fence = fence(&text);
    out.part(&format!("{fence}diff\n{}\n{fence}", text.trim_end()));
}

/// More backticks than stand in a row in the text, three at least.
fn fence(text: &str) -> String {
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

/// A code span.
fn code(text: &str) -> String {
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let ticks = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{ticks}{pad}{}{pad}{ticks}", one_line(text))
}

/// Text on one line in which nothing but what stands in paired backticks is markup.
fn prose(text: &str) -> String {
    let text = one_line(text);
    let parts: Vec<&str> = text.split('`').collect();
    let paired = parts.len() % 2 == 1;
    let written = parts.iter().enumerate().map(|(at, part)| match at % 2 {
        1 if paired => format!("`{part}`"),
        _ => escaped(part),
    });
    written.collect::<Vec<_>>().join(if paired { "" } else { "\\`" })
}

/// The same in a cell of a table.
fn cell_text(text: &str) -> String {
    // Within a code span too, where `prose` escapes nothing.
    prose(text).replace("\\|", "|").replace('|', "\\|")
}

fn one_line(text: &str) -> String {
    visible(&text.lines().collect::<Vec<_>>().join(" "))
}

/// Without control characters: a host's text moves no cursor.
fn visible(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t')).collect()
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        match letter {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            // Within a word it is none.
            '_' if before.is_alphanumeric() && letters.peek().is_some_and(|next| next.is_alphanumeric()) => {
                out.push('_');
            }
            '\\' | '*' | '_' | '[' | ']' | '~' | '|' | '#' => {
                out.push('\\');
                out.push(letter);
            }
            _ => out.push(letter),
        }
        before = letter;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hosts_say_is_no_markup() {
        let check = |text: &str, expected: &str| assert_eq!(prose(text), expected);
        check("plain", "plain");
        check("a_b _c_ *d* <e> [f](g)", "a_b \\_c\\_ \\*d\\* &lt;e> \\[f\\](g)");
        check("say `a_b` now", "say `a_b` now");
        check("a ` alone_", "a \\` alone\\_");
        check("two\nlines\u{1b}[31m", "two lines\\[31m");
        assert_eq!(cell_text("a|b `c|d`"), "a\\|b `c\\|d`");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(fence("x\n````\ny"), "`````");
        assert_eq!(fence("x"), "```");
    }
}
