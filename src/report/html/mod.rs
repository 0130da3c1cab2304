//! `--format html`: one page that needs nothing else. It loads nothing, from no network: style, script and drawings
//! are in it, and its own policy (CSP) forbids all else. Without the script everything can be read; the script only
//! filters, opens and closes.

mod timeline;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, Output, State, UndefinedBehavior, context};
use serde::Serialize;

use super::human::windows::COLUMNS;
use super::view::{View, view};
use super::{Report, Style};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");

/// A report as a page.
pub(super) fn write(report: &Report, _style: Style) -> String {
    #[derive(Serialize)]
    struct Page<'a> {
        #[serde(flatten)]
        view: View<'a>,
        timelines: Vec<timeline::Figure<'a>>,
        columns: Vec<&'static str>,
    }
    let page = Page {
        view: view(report),
        timelines: timeline::figures(report),
        columns: COLUMNS.iter().map(|column| column.title).collect(),
    };
    let page = minijinja::value::Serde(&page);
    let context =
        context! { style => STYLE, script => SCRIPT, script_hash => SCRIPT_HASH, ..Value::from(page) };
    let mut text = environment()
        .get_template("page.html")
        .and_then(|template| template.render(context))
        .expect("the page's template is constant, and a test renders every part of it");
    text.push('\n');
    text
}

/// The digest of `page.js` that the page's policy allows; a test computes it.
const SCRIPT_HASH: &str = "sha256-kqSaq4UFLa+lsWvRAnczbpOjur3NEG6mdn0OjRl0NuY=";

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    env.set_syntax(syntax.expect("the delimiters are Jinja's own"));
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::Html);
    env.set_formatter(emit);
    env.add_filter("prose", prose);
    env.add_template("page.html", PAGE).expect("the template is constant");
    env
}

/// Text with what stands in paired backticks as code.
fn prose(text: &str) -> Value {
    let parts: Vec<&str> = text.split('`').collect();
    let paired = parts.len() % 2 == 1;
    let mut out = String::new();
    for (at, part) in parts.iter().enumerate() {
        match at % 2 {
            1 if paired => out.push_str(&format!("<code>{}</code>", escaped(part))),
            _ => {
                if at > 0 && !paired {
                    out.push('`');
                }
                out.push_str(&escaped(part));
            }
        }
    }
    Value::from_safe_string(out)
}

/// Writes a value as text of a page.
fn emit(out: &mut Output<'_>, _state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if value.is_safe() => Ok(out.write_str(text)?),
        Some(text) => Ok(out.write_str(&escaped(text))?),
        None if value.is_none() => Ok(()),
        None => Ok(write!(out, "{value}")?),
    }
}

/// Markup escaped, and characters left out that no page may hold
/// (<https://html.spec.whatwg.org/multipage/parsing.html#preprocessing-the-input-stream>).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(letter),
            letter if letter.is_control() || u32::from(letter) & 0xfffe == 0xfffe => {}
            letter => out.push(letter),
        }
    }
    out
}
