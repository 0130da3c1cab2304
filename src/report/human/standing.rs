//! Hosts and tasks: how each stands, hosts that stand the same in one row.

use super::grid::{self, Cell, Column};
use super::names::names;
use super::text::{Ink, beside, count};
use crate::report::matrix::{self, Verdict};
use crate::report::{HostStatus, Report, Style};

/// So many rows are shown.
const SHOWN: usize = 12;

/// What the table says about hosts that stand the same.
struct Row<'a> {
    hosts: Vec<&'a str>,
    cells: Vec<Cell>,
    worst: u8,
}

/// How every host stands with every task.
pub fn table(report: &Report, style: Style) -> String {
    let tasks = matrix::tasks(report);
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (name, host) in &report.hosts {
        let cells: Vec<Cell> = tasks.iter().map(|task| cell(matrix::verdict(host, task))).collect();
        match rows.iter_mut().find(|row| row.cells == cells) {
            Some(row) => row.hosts.push(name),
            None => rows.push(Row { hosts: vec![name], cells, worst: rank(host.status) }),
        }
    }
    rows.sort_by_key(|row| row.worst);
    let mut out = String::new();
    let mut first = 0;
    while first < tasks.len() {
        // As many tasks side by side as fit, one at least.
        let mut last = tasks.len();
        loop {
            let drawn = band(&tasks[first..last], &rows, first, style);
            if let Some(drawn) = drawn {
                out.push_str(&drawn);
                break;
            }
            last -= 1;
            if last == first {
                last = first + 1;
                break;
            }
        }
        first = last;
    }
    if rows.len() > SHOWN {
        let left = rows[SHOWN..].iter().map(|row| row.hosts.len()).sum();
        out.push_str(&beside(
            "",
            &format!("  and {}; `--format json` has them all", count(left, "more host")),
            2,
            style.width.into(),
        ));
    }
    out + &subjects(report, style)
}

fn band(tasks: &[&str], rows: &[Row<'_>], first: usize, style: Style) -> Option<String> {
    let mut columns = vec![Column { title: "host", wraps: true }];
    columns.extend(tasks.iter().map(|task| Column { title: task, wraps: false }));
    let lines: Vec<Vec<Cell>> = rows
        .iter()
        .take(SHOWN)
        .map(|row| {
            let own = row.cells[first..first + tasks.len()].iter().cloned();
            std::iter::once(Cell::plain(names(&row.hosts))).chain(own).collect()
        })
        .collect();
    let room = usize::from(style.width).saturating_sub(2);
    let widths = grid::fit(&columns, &lines, room)?;
    let mut out = grid::titles(&columns, &widths, 2, style.colour);
    for line in &lines {
        out.push_str(&grid::line(line, &widths, 2, style.colour));
    }
    Some(out)
}

/// The worst first.
pub fn rank(status: HostStatus) -> u8 {
    match status {
        HostStatus::Failed => 0,
        HostStatus::Unreachable => 1,
        HostStatus::Findings => 2,
        HostStatus::Compliant => 3,
    }
}

/// A verdict in a word or two.
pub fn cell(verdict: Verdict<'_>) -> Cell {
    match verdict {
        Verdict::NotRead => Cell::inked("not read", Ink::Red),
        Verdict::NotApplicable(_) => Cell::inked("n/a", Ink::Faint),
        Verdict::Holds { notes: 0 } => Cell::inked("holds", Ink::Green),
        Verdict::Holds { notes } => Cell::inked(format!("holds, {}", count(notes, "note")), Ink::Green),
        Verdict::Waived(_) => Cell::inked("waived", Ink::Yellow),
        Verdict::NotAsked => Cell::plain("-"),
        Verdict::NotKnown => Cell::inked("not known", Ink::Yellow),
        Verdict::Findings { number, worst } => {
            Cell::inked(count(number, "finding"), worst.map_or(Ink::Yellow, super::text::ink))
        }
    }
}

/// Why a task is not applicable, each reason once.
fn subjects(report: &Report, style: Style) -> String {
    let mut reasons: Vec<(&str, &str)> = Vec::new();
    for (task, reason) in report.hosts.values().flat_map(matrix::absent) {
        if !reasons.contains(&(task, reason)) {
            reasons.push((task, reason));
        }
    }
    let lines = reasons.iter().map(|(task, reason)| {
        beside("  n/a:", &format!("{task} is not applicable: {reason}"), 7, style.width.into())
    });
    lines.collect()
}
