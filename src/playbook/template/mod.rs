//! Templates as ansible-core 2.19 renders them, on minijinja: strict, lazy, native types kept.
//!
//! A [`Scope`] holds one host's variables. Their values are templates themselves and are rendered
//! when they are used, however deep they refer to each other; a value that is one lone `{{ … }}`
//! keeps its type. Errors never show a variable's value: it may be a secret.

mod base64;
#[cfg(test)]
mod cases;
mod collections;
mod fault;
mod filters;
mod functions;
mod predicates;
mod python;
mod regexes;
mod scope;
mod yaml_out;

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior};

use super::{Source, Templates};

pub use scope::Scope;

/// More steps than any sane template needs; an endless loop ends with an error instead of a hang.
const FUEL: u64 = 1_000_000;

/// How deep templates may refer to each other.
const RECURSION_LIMIT: usize = 100;

/// Everything that templates can call, made once and shared by the scopes of all hosts.
pub struct Renderer {
    strict: Environment<'static>,
    /// The same where a lookup in something undefined gives undefined; see [`Scope`].
    chainable: Environment<'static>,
    files: BTreeMap<String, Source>,
}

impl std::fmt::Debug for Renderer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renderer").field("files", &self.files.keys()).finish_non_exhaustive()
    }
}

impl Renderer {
    /// A renderer whose `include` finds the files of `templates`.
    pub fn new(templates: &Templates) -> Arc<Self> {
        let strict = environment(templates, UndefinedBehavior::Strict);
        let chainable = environment(templates, UndefinedBehavior::Chainable);
        Arc::new(Self { strict, chainable, files: templates.files.clone() })
    }
}

fn environment(templates: &Templates, undefined: UndefinedBehavior) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(undefined);
    // Ansible's settings: `trim_blocks` on, `lstrip_blocks` off, the last newline kept.
    env.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .keep_trailing_newline(true)
            .build()
            .expect("the delimiters are Jinja's own"),
    );
    env.set_auto_escape_callback(|_| AutoEscape::None);
    // Only with it do errors know which expression was undefined. They would show variables as well
    // when printed with `{:#}`; `fault` never does that.
    env.set_debug(true);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(RECURSION_LIMIT);
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.set_formatter(emit);
    env.remove_global("debug");
    filters::add(&mut env);
    predicates::add(&mut env);
    functions::add(&mut env, templates);
    let files = templates.files.clone();
    env.set_loader(move |name| Ok(files.get(name).map(|source| source.text.to_string())));
    env
}

/// What `{{ … }}` wrote during one rendering, by which a lone expression keeps its type.
#[derive(Default)]
struct Emitted {
    count: usize,
    last: Option<(Value, String)>,
}

/// Writes one `{{ … }}` as Python's `str` would, and remembers it.
fn emit(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    if value.is_undefined() {
        return Err(minijinja::Error::from(minijinja::ErrorKind::UndefinedError));
    }
    let text = python::text(value);
    out.write_str(&text)?;
    let emitted = state.get_or_insert_extension_with(Emitted::default);
    emitted.count += 1;
    emitted.last = Some((value.clone(), text));
    Ok(())
}

/// Whether a string is a template at all.
fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}
