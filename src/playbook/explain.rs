//! What a task is for, in words: `trueup explain TASK`.

use std::fmt::Write as _;

use super::Task;
use crate::audit::Severity;

/// Why a task is there, how bad it is when it does not hold, what it changes, and where that can be read.
pub fn explain(task: &Task) -> String {
    let mut text = format!("{}: {}\n", task.id, task.name);
    let severity = match task.severity {
        Severity::Critical => "critical: calls are lost when a connection dies",
        Severity::Warning => "warning: calls can be lost under conditions that are not everyday",
        Severity::Info => "info: worth knowing",
    };
    let _ = writeln!(text, "\nSeverity   {severity}");
    match task.kind {
        Some(kind) => {
            let _ = writeln!(text, "Module     {}: {}", kind.name, kind.summary);
        }
        None => text.push_str("Module     command: runs round each batch\n"),
    }
    for (name, value) in &task.arguments {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = writeln!(text, "           {name}: {value}");
    }
    for condition in &task.when {
        let value = condition.value.as_str().map_or_else(|| condition.value.to_string(), str::to_owned);
        let _ = writeln!(text, "When       {value}");
    }
    if !task.tags.is_empty() {
        let _ = writeln!(text, "Tags       {}", task.tags.join(", "));
    }
    let _ = writeln!(text, "Written    {}", task.place);
    if !task.why.is_empty() {
        let _ = writeln!(text, "\n{}", task.why);
    }
    if !task.references.is_empty() {
        text.push_str("\nSources:\n");
        for reference in &task.references {
            let _ = writeln!(text, "  {reference}");
        }
    }
    text
}
