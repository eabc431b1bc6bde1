//! What people read: facts about one thing, and tables of many.

use std::fmt::Display;
use std::io::Write;

/// Tells the user. Nobody may be listening any more, as behind `| head`, which is no fault.
pub(super) fn say(text: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Tells the user something beside the answer.
pub(super) fn note(text: impl Display) {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "{text}");
}

/// Facts about one thing, a line each; those that say nothing are left out.
pub(super) fn facts(title: &str, facts: &[(&str, String)]) -> String {
    let said: Vec<_> = facts.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = said.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = title.to_owned();
    for (name, value) in said {
        text.push_str(&format!("\n  {name:width$}  {}", line(value)));
    }
    text
}

/// A table with a heading, its columns as wide as they must be.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| line(cell))).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = format_row(&heading, &widths);
    for row in &rows {
        text.push('\n');
        text.push_str(&format_row(&row.each_ref().map(String::as_str), &widths));
    }
    text
}

fn format_row<const N: usize>(cells: &[&str; N], widths: &[usize; N]) -> String {
    let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// Text of others on one line: what it holds must not look like lines of ours, nor steer the terminal.
fn line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// The name of an enum value without its enum: `SHIPPED` of `ORDER_STATE_SHIPPED`.
pub(super) fn short<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.strip_prefix(prefix).unwrap_or(name)
}

/// A time as people read it, in UTC.
pub(super) fn time(timestamp: Option<&prost_types::Timestamp>) -> String {
    timestamp.map_or_else(String::new, ToString::to_string)
}
