//! One host's variables, rendered when they are used.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind};
use serde_json::{Map, Value as Json};

use super::fault::{self, Origin};
use super::{Emitted, Renderer, is_template, python};
use crate::error::{Diagnostic, Place, Result};
use crate::playbook::{Condition, Scoped, Source, Vars};
use crate::yaml::{UNSAFE_KEY, VAULT_KEY};

/// One host's variables, and the way to render with them.
///
/// An undefined value is an error wherever it is used, as in Ansible. Ansible also lets
/// `a.missing.deeper | default(x)` pass, which minijinja does only in its chainable mode, where much
/// more passes; so a template is rendered again in that mode only when it failed at exactly such a
/// chain, one that ends in `default`, `mandatory` or a test for being defined.
pub struct Scope {
    renderer: Arc<Renderer>,
    host: String,
    vars: Vars,
    places: BTreeMap<String, Place>,
    /// The values being rendered right now, outermost first; one that appears twice is a loop.
    active: Mutex<Vec<String>>,
    /// Why a variable counts as undefined although it is there: its own template's error.
    unresolved: Mutex<BTreeMap<String, Diagnostic>>,
    /// The first error within a variable's template.
    failure: Mutex<Option<Diagnostic>>,
}

/// Variables hold secrets, so only their names are shown.
impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("host", &self.host)
            .field("vars", &self.vars.keys())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scope {
    /// The variables of `host`, in order of rising precedence.
    pub fn new<'a>(
        renderer: &Arc<Renderer>,
        host: &str,
        layers: impl IntoIterator<Item = &'a Scoped>,
    ) -> Arc<Self> {
        let mut vars = Vars::new();
        let mut places = BTreeMap::new();
        vars.insert("inventory_hostname".to_owned(), Json::String(host.to_owned()));
        for layer in layers {
            for (name, value) in &layer.vars {
                vars.insert(name.clone(), value.clone());
                match layer.places.get(name) {
                    Some(place) => places.insert(name.clone(), place.clone()),
                    None => places.remove(name),
                };
            }
        }
        Arc::new(Self {
            renderer: Arc::clone(renderer),
            host: host.to_owned(),
            vars,
            places,
            active: Mutex::default(),
            unresolved: Mutex::default(),
            failure: Mutex::default(),
        })
    }

    /// The host these variables are of.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The names of all variables.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.vars.keys().map(String::as_str)
    }

    /// Why `name` counts as undefined although there is a variable of that name.
    pub(super) fn reason(&self, name: &str) -> Option<Diagnostic> {
        lock(&self.unresolved).get(name).cloned()
    }

    /// A file named by an error, for its place.
    pub(super) fn file(&self, name: &str) -> Option<&Source> {
        self.renderer.files.get(name)
    }

    /// The text that a whole template file renders to.
    pub fn text(self: &Arc<Self>, source: &Source) -> Result<String> {
        let origin = Origin::File(source);
        self.guarded(&origin, |scope| scope.render(&source.path, &source.text).map(|(text, _)| text))
    }

    /// A value of the playbook with every template in it rendered; `None` when it is `omit`.
    pub fn value(self: &Arc<Self>, raw: &Json, place: &Place) -> Result<Option<Json>> {
        match raw {
            Json::String(text) if is_template(text) => {
                let origin = Origin::Scalar { place, text };
                self.guarded(&origin, |scope| python::to_json(&scope.native(&place.path, text)?))
            }
            Json::Array(items) => {
                let items: Vec<_> =
                    items.iter().map(|item| self.value(item, place)).collect::<Result<_>>()?;
                Ok(Some(items.into_iter().flatten().collect()))
            }
            Json::Object(map) => {
                if let Some(Json::String(text)) = map.get(UNSAFE_KEY) {
                    return Ok(Some(Json::String(text.clone())));
                }
                if map.contains_key(VAULT_KEY) {
                    return Err(Diagnostic::new("a value is still encrypted").at(place.clone()));
                }
                let mut rendered = Map::new();
                for (key, value) in map {
                    if let Some(value) = self.value(value, place)? {
                        rendered.insert(key.clone(), value);
                    }
                }
                Ok(Some(Json::Object(rendered)))
            }
            other => Ok(Some(other.clone())),
        }
    }

    /// The value of one variable; `None` when there is none, or it is `omit`. Its text is never shown
    /// with an error: it may be a password.
    pub fn variable(self: &Arc<Self>, name: &str) -> Result<Option<Json>> {
        let Some(raw) = self.vars.get(name) else { return Ok(None) };
        let origin = Origin::Variable { name, place: self.places.get(name), text: "" };
        self.guarded(&origin, |scope| match scope.lazy(name, raw) {
            Some(value) => python::to_json(&value),
            None => Err(Error::from(ErrorKind::UndefinedError)),
        })
    }

    /// Whether a condition holds: a boolean, or an expression that gives one, as ansible-core 2.19
    /// demands. An expression may be wrapped in `{{ … }}`, and may give the text of another one.
    pub fn condition(self: &Arc<Self>, condition: &Condition) -> Result<bool> {
        let text = match &condition.value {
            Json::Bool(value) => return Ok(*value),
            Json::String(text) => text,
            _ => return Err(Diagnostic::new("a condition must be a string").at(condition.place.clone())),
        };
        let place = &condition.place;
        let origin = Origin::Scalar { place, text };
        let value = self.guarded(&origin, |scope| {
            let trimmed = text.trim();
            let mut expression = text.clone();
            if trimmed.starts_with("{{") && trimmed.ends_with("}}") {
                let value = scope.native(&place.path, text)?;
                match value.as_str() {
                    Some(inner) => inner.clone_into(&mut expression),
                    None => return Ok(value),
                }
            }
            if expression.trim().is_empty() {
                return Err(python::invalid("the condition is empty"));
            }
            scope.expression(&expression)
        })?;
        if value.kind() == minijinja::value::ValueKind::Bool {
            return Ok(value.is_true());
        }
        Err(Diagnostic::new(format!(
            "a condition must give true or false, and this one gives {} for host `{}`",
            python::kind_words(&value),
            self.host
        ))
        .at(place.clone())
        .hint("compare it (`== …`, `is defined`, `| length > 0`), or convert it with `| bool`"))
    }

    /// Runs one rendering and turns its error into one that can be shown.
    fn guarded<T>(
        self: &Arc<Self>,
        origin: &Origin<'_>,
        run: impl FnOnce(&Arc<Self>) -> std::result::Result<T, Error>,
    ) -> Result<T> {
        lock(&self.unresolved).clear();
        *lock(&self.failure) = None;
        lock(&self.active).clear();
        run(self).map_err(|error| {
            let inner = lock(&self.failure).take().filter(|_| error.kind() != ErrorKind::UndefinedError);
            let error = fault::diagnose(&error, origin, self, inner);
            match origin {
                Origin::Scalar { place, .. } => error.at((*place).clone()),
                _ => error,
            }
        })
    }

    /// The value of one expression.
    fn expression(self: &Arc<Self>, text: &str) -> std::result::Result<Value, Error> {
        let context = Value::from_dyn_object(Arc::clone(self));
        let run = |env: &minijinja::Environment<'static>| {
            env.compile_expression(text).and_then(|expression| expression.eval(context.clone()))
        };
        let value = match run(&self.renderer.strict) {
            Err(error) if fault::is_forgiven_chain(&error, text) => run(&self.renderer.chainable)?,
            result => result?,
        };
        if value.is_undefined() {
            // Names the expression itself: a lone undefined name is the whole of it.
            return self.render("", &format!("{{{{ {text} }}}}")).map(|(_, value)| value);
        }
        Ok(value)
    }

    /// The value of a template in YAML: the type of a lone expression is kept.
    fn native(self: &Arc<Self>, name: &str, text: &str) -> std::result::Result<Value, Error> {
        self.render(name, &literal_backslashes(text)).map(|(_, value)| value)
    }

    fn render(self: &Arc<Self>, name: &str, text: &str) -> std::result::Result<(String, Value), Error> {
        let context = Value::from_dyn_object(Arc::clone(self));
        let run = |env: &minijinja::Environment<'static>| {
            let captured = env.template_from_named_str(name, text)?.render_captured(context.clone())?;
            let native = match captured.state().get_extension::<Emitted>() {
                Some(Emitted { count: 1, last: Some((value, written)) }) if captured.output() == written => {
                    Some(value.clone())
                }
                _ => None,
            };
            let output = captured.into_output();
            let value = native.unwrap_or_else(|| Value::from(output.as_str()));
            Ok((output, value))
        };
        match run(&self.renderer.strict) {
            Err(error) if fault::is_forgiven_chain(&error, text) => run(&self.renderer.chainable),
            result => result,
        }
    }

    /// A variable's value, or a part of one, ready for use in a template. `None` is undefined.
    fn lazy(self: &Arc<Self>, path: &str, raw: &Json) -> Option<Value> {
        match raw {
            Json::String(text) if is_template(text) => self.nested(path, text),
            Json::Object(map) if map.contains_key(UNSAFE_KEY) => {
                map.get(UNSAFE_KEY).and_then(Json::as_str).map(Value::from)
            }
            Json::Object(map) if has_template(raw) => Some(Value::from_object(LazyMap {
                scope: Arc::clone(self),
                path: path.to_owned(),
                raw: map.clone(),
            })),
            Json::Array(items) if has_template(raw) => Some(Value::from_object(LazyList {
                scope: Arc::clone(self),
                path: path.to_owned(),
                raw: items.clone(),
            })),
            plain => Some(python::from_json(plain)),
        }
    }

    /// Renders the template that a variable holds.
    fn nested(self: &Arc<Self>, path: &str, text: &str) -> Option<Value> {
        let name = path.split(['.', '[']).next().unwrap_or(path);
        let place = self.places.get(name);
        let origin = Origin::Variable { name: path, place, text };
        if lock(&self.active).iter().any(|active| active == path) {
            let chain = lock(&self.active).join("` → `");
            let mut error =
                Diagnostic::new(format!("variables refer to each other in a circle: `{chain}` → `{path}`"));
            if let Some(place) = place {
                error = error.at(place.clone());
            }
            return Some(self.failed(error));
        }
        lock(&self.active).push(path.to_owned());
        let result = self.native("", text);
        lock(&self.active).pop();
        match result {
            Ok(value) => Some(value),
            Err(error) if error.kind() == ErrorKind::UndefinedError => {
                let reason = fault::diagnose(&error, &origin, self, None);
                lock(&self.unresolved).insert(path.to_owned(), reason);
                None
            }
            Err(error) => {
                let inner = lock(&self.failure).take();
                let diagnostic = fault::diagnose(&error, &origin, self, inner);
                Some(self.failed(diagnostic))
            }
        }
    }

    /// Keeps the first error, and gives a value that ends the rendering.
    fn failed(&self, error: Diagnostic) -> Value {
        lock(&self.failure).get_or_insert(error);
        Value::from(Error::new(ErrorKind::InvalidOperation, "a variable's template failed"))
    }
}

/// The names a template can use.
impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match self.vars.get(key) {
            Some(raw) => self.lazy(key, raw),
            None if key == "vars" => Some(Value::from_dyn_object(Arc::clone(self))),
            None => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.vars.keys().map(|name| Value::from(name.as_str())).collect())
    }
}

/// In the strings of a YAML value's `{{ … }}` a backslash is itself, so that `'\\1'` reaches
/// `regex_replace` (ansible-core, `_jinja_bits.py`, `AnsibleLexer`). Not in files, `{% … %}`, conditions.
fn literal_backslashes(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 4);
    let mut chars = text.chars().peekable();
    let (mut inside, mut depth, mut quote) = (false, 0u32, None);
    while let Some(c) = chars.next() {
        out.push(c);
        let next = chars.peek().copied();
        match (inside, quote) {
            (false, _) if c == '{' && next == Some('{') => {
                inside = true;
                out.extend(chars.next());
            }
            (true, None) if c == '{' => depth += 1,
            (true, None) if c == '}' && depth > 0 => depth -= 1,
            (true, None) if c == '}' && next == Some('}') => inside = false,
            (true, None) if c == '\'' || c == '"' => quote = Some(c),
            (true, Some(open)) if c == open => quote = None,
            (true, Some(open)) if c == '\\' => {
                out.push('\\');
                // The next character belongs to the backslash, and does not end the string.
                match chars.next() {
                    Some(escaped) if escaped == open || escaped == '\\' => {
                        out.push('\\');
                        out.push(escaped);
                    }
                    other => out.extend(other),
                }
            }
            _ => {}
        }
    }
    Cow::Owned(out)
}

fn has_template(value: &Json) -> bool {
    match value {
        Json::String(text) => is_template(text),
        Json::Array(items) => items.iter().any(has_template),
        Json::Object(map) => map.contains_key(UNSAFE_KEY) || map.values().any(has_template),
        _ => false,
    }
}

/// A mapping with templates in it.
struct LazyMap {
    scope: Arc<Scope>,
    path: String,
    raw: Map<String, Json>,
}

impl fmt::Debug for LazyMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyMap").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Object for LazyMap {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        self.scope.lazy(&format!("{}.{key}", self.path), self.raw.get(key)?)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.raw.keys().map(|key| Value::from(key.as_str())).collect())
    }
}

/// A list with templates in it.
struct LazyList {
    scope: Arc<Scope>,
    path: String,
    raw: Vec<Json>,
}

impl fmt::Debug for LazyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyList").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Object for LazyList {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let index = key.as_usize()?;
        self.scope.lazy(&format!("{}[{index}]", self.path), self.raw.get(index)?)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.raw.len())
    }
}
