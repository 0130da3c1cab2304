//! Hosts and tasks: how each stands, hosts that stand the same in one row.

use std::collections::BTreeSet;

use super::grid::{self, Cell, Column};
use super::names::names;
use super::text::{Ink, beside, count};
use crate::audit::{Finding, Standing, Status};
use crate::report::{HostReport, HostStatus, Report, Style};

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
    let tasks = tasks(report);
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (name, host) in &report.hosts {
        let cells: Vec<Cell> = tasks.iter().map(|task| cell(host, task)).collect();
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

fn rank(status: HostStatus) -> u8 {
    match status {
        HostStatus::Failed => 0,
        HostStatus::Unreachable => 1,
        HostStatus::Findings => 2,
        HostStatus::Compliant => 3,
    }
}

/// The ids of all tasks, in playbook order; findings of no task (a cluster's health) come last.
fn tasks(report: &Report) -> Vec<&str> {
    let own = report.hosts.values().flat_map(|host| &host.tasks).map(|row| row.task.as_str());
    let others = report.hosts.values().flat_map(|host| &host.findings).map(|finding| finding.task.as_str());
    let mut seen = BTreeSet::new();
    own.chain(others).filter(|task| seen.insert(*task)).collect()
}

fn cell(host: &HostReport, task: &str) -> Cell {
    if host.status == HostStatus::Unreachable {
        return Cell::inked("not read", Ink::Red);
    }
    let of_task: Vec<&Finding> = host.findings.iter().filter(|finding| finding.task == task).collect();
    let standing = host.tasks.iter().find(|row| row.task == task).map(|row| &row.standing);
    match standing {
        Some(Standing::NotApplicable(_)) => Cell::inked("n/a", Ink::Faint),
        Some(Standing::Holds) if of_task.is_empty() => Cell::inked("holds", Ink::Green),
        Some(Standing::Holds) => Cell::inked(format!("holds, {}", count(of_task.len(), "note")), Ink::Green),
        _ if of_task.is_empty() && host.error.is_some() => Cell::inked("not read", Ink::Red),
        None if of_task.is_empty() => Cell::plain("-"),
        _ if of_task.iter().all(|finding| finding.status == Status::Unknown) => {
            Cell::inked("not known", Ink::Yellow)
        }
        _ => {
            let worst = of_task.iter().map(|finding| finding.severity).max();
            let ink = worst.map_or(Ink::Yellow, super::text::ink);
            Cell::inked(count(of_task.len(), "finding"), ink)
        }
    }
}

/// Why a task is not applicable, each reason once.
fn subjects(report: &Report, style: Style) -> String {
    let mut reasons: Vec<(&str, &str)> = Vec::new();
    for row in report.hosts.values().flat_map(|host| &host.tasks) {
        if let Standing::NotApplicable(reason) = &row.standing
            && !reasons.contains(&(&row.task, reason))
        {
            reasons.push((&row.task, reason));
        }
    }
    let lines = reasons.iter().map(|(task, reason)| {
        beside("  n/a:", &format!("{task} is not applicable: {reason}"), 7, style.width.into())
    });
    lines.collect()
}
