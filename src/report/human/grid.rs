//! Columns of text. No word is broken in its middle: where the terminal is too narrow, titles take two lines
//! first, then the column that may.

use super::text::{Ink, paint, width, wrap};

/// Blanks between columns.
const GAP: usize = 2;

/// A column's title.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    /// Over the column.
    pub title: &'a str,
    /// May its cells be wrapped?
    pub wraps: bool,
}

/// A cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// What stands there.
    pub text: String,
    /// Its colour.
    pub ink: Option<Ink>,
}

impl Cell {
    /// A cell without colour.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), ink: None }
    }

    /// A cell in `ink`.
    pub fn inked(text: impl Into<String>, ink: Ink) -> Self {
        Self { text: text.into(), ink: Some(ink) }
    }
}

/// How wide each column is; `None` where they do not fit into `room`.
pub fn fit(columns: &[Column<'_>], rows: &[Vec<Cell>], room: usize) -> Option<Vec<usize>> {
    let longest = |lines: Vec<String>| lines.iter().map(|line| width(line)).max().unwrap_or(0);
    let cells = |at: usize| rows.iter().map(move |row| row[at].text.as_str());
    let whole: Vec<usize> = (0..columns.len()).map(|at| cells(at).map(width).max().unwrap_or(0)).collect();
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
    let over = |titles: &dyn Fn(&str) -> usize| -> Vec<usize> {
        columns.iter().zip(&whole).map(|(column, whole)| titles(column.title).max(*whole)).collect()
    };
    let wide = over(&width);
    if total(&wide) <= room {
        return Some(wide);
    }
    let mut narrow = over(&|title| longest(wrap(title, 1)));
    for (at, column) in columns.iter().enumerate().filter(|(_, column)| column.wraps) {
        let least = longest(wrap(column.title, 1)).max(cells(at).map(|text| longest(wrap(text, 1))).max()?);
        let others = total(&narrow) - narrow[at];
        narrow[at] = room.saturating_sub(others).clamp(least.min(narrow[at]), narrow[at]);
    }
    (total(&narrow) <= room).then_some(narrow)
}

/// The titles, in columns of these widths, after `margin` blanks.
pub fn titles(columns: &[Column<'_>], widths: &[usize], margin: usize, colour: bool) -> String {
    let titles: Vec<Cell> = columns.iter().map(|column| Cell::inked(column.title, Ink::Bold)).collect();
    line(&titles, widths, margin, colour)
}

/// A row, in columns of these widths, after `margin` blanks.
pub fn line(row: &[Cell], widths: &[usize], margin: usize, colour: bool) -> String {
    let wrapped: Vec<Vec<String>> =
        row.iter().zip(widths).map(|(cell, columns)| wrap(&cell.text, *columns)).collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or(0);
    let mut out = String::new();
    for at in 0..height {
        let mut text = " ".repeat(margin);
        let mut owed = 0;
        for ((cell, lines), columns) in row.iter().zip(&wrapped).zip(widths) {
            let part = lines.get(at).map_or("", String::as_str);
            if !part.is_empty() {
                text.push_str(&" ".repeat(owed));
                owed = 0;
                text.push_str(&cell.ink.map_or_else(|| part.to_owned(), |ink| paint(part, ink, colour)));
            }
            owed += columns.saturating_sub(width(part)) + GAP;
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(room: usize, expected: &[&str]) {
        let columns = [
            Column { title: "host", wraps: true },
            Column { title: "broker notices", wraps: false },
            Column { title: "tcp-keepalive", wraps: false },
        ];
        let rows = [
            vec![Cell::plain("one two three"), Cell::plain("70 s"), Cell::plain("holds")],
            vec![Cell::plain("four"), Cell::plain(""), Cell::plain("fails")],
        ];
        let drawn = fit(&columns, &rows, room).map(|widths| {
            let rows = rows.iter().map(|row| line(row, &widths, 0, false));
            std::iter::once(titles(&columns, &widths, 0, false)).chain(rows).collect::<String>()
        });
        let lines: Option<Vec<&str>> = drawn.as_deref().map(|drawn| drawn.lines().collect());
        assert_eq!(lines.unwrap_or_default(), expected, "{room}");
    }

    #[test]
    fn titles_give_way_first_and_then_the_column_that_may() {
        check(
            44,
            &[
                "host           broker notices  tcp-keepalive",
                "one two three  70 s            holds",
                "four                           fails",
            ],
        );
        check(
            34,
            &[
                "host           broker   tcp-",
                "               notices  keepalive",
                "one two three  70 s     holds",
                "four                    fails",
            ],
        );
        check(
            27,
            &[
                "host     broker   tcp-",
                "         notices  keepalive",
                "one two  70 s     holds",
                "three",
                "four              fails",
            ],
        );
        check(20, &[]);
    }
}
