//! From parser events to nodes: anchors, merges, duplicate keys, tags, and limits.

use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span as Source, Tag};
use indexmap::IndexMap;
use indexmap::map::Entry;

use super::scalar::{self, Implicit};
use super::{Kind, Node, Span, UNSAFE_KEY, VAULT_KEY};
use crate::error::{Diagnostic, Place, Result};

/// How many nodes a document may have once its aliases are written out ("billion laughs").
const MAX_NODES: usize = 1_000_000;

/// How deep a document may nest once its aliases are written out.
const MAX_DEPTH: usize = 200;

/// Every document of `text`.
pub(super) fn documents(path: &str, text: &str, warnings: &mut Vec<Diagnostic>) -> Result<Vec<Node>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json = text.trim_start().starts_with(['{', '[']).then(|| serde_json::from_str(text).ok()).flatten();
    if let Some(value) = &json
        && text.contains('\t')
    {
        // Tabs indent in JSON and not in YAML; such a text has no places but its own start.
        return Ok(vec![from_json(value)]);
    }
    printable(path, text)?;
    let mut composer = Composer {
        parser: Parser::new_from_str_with_options(
            text,
            granit_parser::options! { flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH },
        ),
        path,
        text,
        json: json.is_some(),
        anchors: HashMap::new(),
        nodes: 0,
        depth: 0,
        unsafe_depth: 0,
        warnings,
    };
    match (composer.stream(), json) {
        (Ok(documents), _) => Ok(documents),
        (Err(_), Some(value)) => Ok(vec![from_json(&value)]),
        (Err(error), None) => Err(error),
    }
}

/// What `PyYAML`'s reader refuses before it parses anything (`yaml/reader.py`, `NON_PRINTABLE`).
fn printable(path: &str, text: &str) -> Result<()> {
    let allowed = |c: char| {
        matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
            && c != '\u{feff}'
    };
    for (number, line) in text.split('\n').enumerate() {
        if let Some(at) = line.chars().position(|c| !allowed(c)) {
            return Err(Diagnostic::new("a control character is not allowed in YAML").at(Place::new(
                path,
                text,
                number + 1,
                at + 1,
                1,
            )));
        }
    }
    Ok(())
}

struct Composer<'t, 'w> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    path: &'t str,
    text: &'t str,
    /// The text is JSON as well, and Ansible reads it as JSON.
    json: bool,
    /// By parser id; `None` while the anchored node is still being read.
    anchors: HashMap<usize, Option<Anchored>>,
    nodes: usize,
    depth: usize,
    unsafe_depth: usize,
    warnings: &'w mut Vec<Diagnostic>,
}

/// A finished node with an anchor, and what an alias to it costs.
struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

impl<'t> Composer<'t, '_> {
    fn stream(&mut self) -> Result<Vec<Node>> {
        let mut documents = Vec::new();
        loop {
            let (event, source) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(documents),
                Event::DocumentStart(..) => {
                    self.anchors.clear();
                    self.nodes = 0;
                    let (event, source) = self.next()?;
                    documents.push(self.node(event, source)?);
                }
                Event::DocumentEnd | Event::StreamStart => {}
                _ => return Err(self.error(source, "content outside of a document")),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Source)> {
        match self.parser.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Err(Diagnostic::new("unexpected end of the text")),
        }
    }

    /// The parser's error with a place, and a hint for the mistakes that everyone makes.
    fn syntax(&self, error: &ScanError) -> Diagnostic {
        let lines = self.text.lines().count().max(1);
        let marker = error.marker();
        let (mut line, mut column) = (marker.line(), marker.col() + 1);
        if line > lines {
            // The end of the text: show the last line that has something.
            line = lines;
            column = self.text.lines().last().map_or(0, |last| last.chars().count()) + 1;
        }
        let shown = Place::new(self.path, self.text, line, column, 1);
        let diagnostic = Diagnostic::new(error.kind().to_string());
        let content = shown.text.trim_start().to_owned();
        for (line, text) in self.text.lines().enumerate().skip(line - 1).take(2) {
            // The parser may notice a tab while it still stands at the end of the line before.
            if let Some(tab) = text.chars().take_while(|c| c.is_whitespace()).position(|c| c == '\t') {
                return diagnostic
                    .at(Place::new(self.path, self.text, line + 1, tab + 1, 1))
                    .hint("indent with spaces; a tab is not indentation in YAML");
            }
        }
        let value = content.split_once(": ").map_or(content.as_str(), |(_, value)| value.trim_start());
        if value.starts_with("{{") {
            return diagnostic.at(shown).hint(format!("quote the template: \"{}\"", value.trim_end()));
        }
        if value.contains(": ") && !value.starts_with(['"', '\'', '{', '[']) {
            return diagnostic
                .at(shown)
                .hint("quote a value that contains `: `, or remove the space after the colon");
        }
        diagnostic.at(shown)
    }

    fn node(&mut self, event: Event<'t>, source: Source) -> Result<Node> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.error(source, format!("the document has more than {MAX_NODES} values")));
        }
        let before = self.nodes;
        let (anchor, node) = match event {
            Event::Alias(id) => return self.alias(id, source),
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, self.scalar(&text, style, tag.as_deref(), source)?)
            }
            Event::SequenceStart(_, anchor, tag) => {
                (anchor, self.collection(anchor, tag.as_deref(), source, Self::sequence)?)
            }
            Event::MappingStart(_, anchor, tag) => {
                (anchor, self.collection(anchor, tag.as_deref(), source, Self::mapping)?)
            }
            _ => return Err(self.error(source, "expected a value")),
        };
        if anchor > 0 {
            let nodes = self.nodes - before + 1;
            let depth = depth(&node);
            self.anchors.insert(anchor, Some(Anchored { node: node.clone(), nodes, depth }));
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, source: Source) -> Result<Node> {
        match self.anchors.get(&id) {
            Some(Some(anchored)) => {
                self.nodes += anchored.nodes;
                if self.nodes > MAX_NODES || self.depth + anchored.depth > MAX_DEPTH {
                    return Err(self.error(source, "the aliases write out to an unreasonable size"));
                }
                let mut node = anchored.node.clone();
                node.span = span(source);
                Ok(node)
            }
            _ => Err(self.error(source, "an alias inside the value that it stands for")),
        }
    }

    fn collection(
        &mut self,
        anchor: usize,
        tag: Option<&Tag>,
        source: Source,
        read: fn(&mut Self, Source, bool) -> Result<Node>,
    ) -> Result<Node> {
        if anchor > 0 {
            self.anchors.insert(anchor, None);
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(source, format!("nested more than {MAX_DEPTH} deep")));
        }
        let name = tag.map(tag_name);
        let guarded = name.as_deref() == Some("!unsafe");
        self.unsafe_depth += usize::from(guarded);
        let node = read(self, source, name.as_deref() == Some(SET))?;
        self.unsafe_depth -= usize::from(guarded);
        self.depth -= 1;
        self.retag(node, name.as_deref(), source)
    }

    /// A collection under an explicit tag.
    fn retag(&self, node: Node, tag: Option<&str>, source: Source) -> Result<Node> {
        let fits = match tag {
            None | Some("!" | "!unsafe") => true,
            Some("!vault" | "!vault-encrypted") => {
                return Err(self.error(source, "the tag `!vault` requires a string"));
            }
            Some("tag:yaml.org,2002:map" | SET) => matches!(node.kind, Kind::Map(_)),
            Some("tag:yaml.org,2002:seq" | "tag:yaml.org,2002:omap" | "tag:yaml.org,2002:pairs") => {
                matches!(node.kind, Kind::Seq(_))
            }
            Some(other) => return Err(self.unknown_tag(other, source)),
        };
        if !fits {
            let tag = tag.unwrap_or_default();
            return Err(self.error(source, format!("the tag `{tag}` does not fit {}", node.kind_name())));
        }
        match (tag, node.kind) {
            (Some(SET), Kind::Map(pairs)) => {
                let items = pairs.into_iter().map(|(key, _)| key).collect();
                Ok(Node { kind: Kind::Seq(items), span: node.span })
            }
            (Some("tag:yaml.org,2002:omap" | "tag:yaml.org,2002:pairs"), Kind::Seq(items)) => {
                let pairs = items.into_iter().map(|item| self.pair(item, source)).collect::<Result<_>>()?;
                Ok(Node { kind: Kind::Seq(pairs), span: node.span })
            }
            (_, kind) => Ok(Node { kind, span: node.span }),
        }
    }

    /// An item of `!!omap` or `!!pairs`: Python's two-tuple, a list of two.
    fn pair(&self, item: Node, source: Source) -> Result<Node> {
        let span = item.span;
        match item.kind {
            Kind::Map(mut pairs) if pairs.len() == 1 => {
                let (key, value) = pairs.remove(0);
                Ok(Node { kind: Kind::Seq(vec![key, value]), span })
            }
            _ => Err(self.error(source, "every item must be a mapping of one key")),
        }
    }

    fn sequence(&mut self, start: Source, _set: bool) -> Result<Node> {
        let mut items = Vec::new();
        loop {
            let (event, source) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Node { kind: Kind::Seq(items), span: span(start) });
            }
            items.push(self.node(event, source)?);
        }
    }

    fn mapping(&mut self, start: Source, set: bool) -> Result<Node> {
        let mut merged: Vec<(Node, Node)> = Vec::new();
        let mut own: Vec<(Node, Node)> = Vec::new();
        loop {
            let (event, source) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let merge = !self.json && is_plain(&event, "<<");
            let key = if merge || is_plain(&event, "=") {
                // `=` is a plain string where it is a key; `<<` is read here and nowhere else.
                let word = if merge { "<<" } else { "=" };
                Node { kind: Kind::Str(word.to_owned()), span: span(source) }
            } else {
                self.node(event, source)?
            };
            let (event, source) = self.next()?;
            let value = self.node(event, source)?;
            if merge {
                self.merge(&mut merged, value)?;
                continue;
            }
            if matches!(key.kind, Kind::Seq(_) | Kind::Map(_)) {
                return Err(self.bad_key(&key));
            }
            own.push((key, value));
        }
        // `PyYAML` puts the merged pairs first; in a Python dictionary a repeated key keeps its place
        // and takes the last value.
        let mut pairs: IndexMap<Identity, (Node, Node)> = IndexMap::new();
        for (key, value) in merged {
            match pairs.entry(Identity::of(&key)) {
                Entry::Occupied(mut old) => old.get_mut().1 = value,
                Entry::Vacant(free) => drop(free.insert((key, value))),
            }
        }
        let inherited = pairs.len();
        for (key, value) in own {
            match pairs.entry(Identity::of(&key)) {
                Entry::Occupied(mut old) => {
                    if old.index() >= inherited && !self.json && !set {
                        self.warnings.push(
                            key.error(self.path, self.text, format!("duplicate key `{}`", key.key()))
                                .hint("the last value is used"),
                        );
                    }
                    old.get_mut().1 = value;
                }
                Entry::Vacant(free) => drop(free.insert((key, value))),
            }
        }
        let pairs: Vec<(Node, Node)> = pairs.into_values().collect();
        let place = pairs.first().filter(|_| inherited == 0).map_or(span(start), |(key, _)| key.span);
        if self.json
            && let [(key, value)] = pairs.as_slice()
            && let Some(text) = value.as_str()
        {
            match key.as_str() {
                Some(VAULT_KEY) => return Ok(Node { kind: Kind::Vault(text.to_owned()), span: place }),
                Some(UNSAFE_KEY) => return Ok(Node { kind: Kind::Unsafe(text.to_owned()), span: place }),
                _ => {}
            }
        }
        Ok(Node { kind: Kind::Map(pairs), span: place })
    }

    fn merge(&self, merged: &mut Vec<(Node, Node)>, value: Node) -> Result<()> {
        match value.kind {
            Kind::Map(pairs) => merged.extend(pairs),
            Kind::Seq(items) => {
                // The first of the list wins, so it must come last.
                for item in items.into_iter().rev() {
                    match item.kind {
                        Kind::Map(pairs) => merged.extend(pairs),
                        _ => return Err(item.error(self.path, self.text, "`<<` takes mappings only")),
                    }
                }
            }
            _ => return Err(value.error(self.path, self.text, "`<<` takes a mapping or a list of mappings")),
        }
        Ok(())
    }

    fn bad_key(&self, key: &Node) -> Diagnostic {
        let message = format!("{} cannot be a key", key.kind_name());
        let mut place = key.place(self.path, self.text);
        let Some(at) = place.text.find("{{") else {
            return Diagnostic::new(message).at(place);
        };
        let template = place.text[at..].trim_end().to_owned();
        place.column = place.text[..at].chars().count() + 1;
        place.length = template.chars().count();
        Diagnostic::new(message).at(place).hint(format!("quote the template: \"{template}\""))
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, source: Source) -> Result<Node> {
        let name = tag.map(tag_name);
        let kind = match name.as_deref() {
            None if style == ScalarStyle::Plain => self.plain(text, source)?,
            // libyaml resolves `! 5` and even `! "5"` like a plain scalar, and nothing as a string.
            Some("!") if !(text.is_empty() && style == ScalarStyle::Plain) => self.plain(text, source)?,
            None | Some("!") => self.string(text),
            Some("!vault" | "!vault-encrypted") => Kind::Vault(text.to_owned()),
            Some("!unsafe") => match self.plain(text, source)? {
                Kind::Str(text) => Kind::Unsafe(text),
                other => other,
            },
            Some(tag) => self.explicit(text, tag, source)?,
        };
        Ok(Node { kind, span: span(source) })
    }

    fn string(&self, text: &str) -> Kind {
        if self.unsafe_depth > 0 { Kind::Unsafe(text.to_owned()) } else { Kind::Str(text.to_owned()) }
    }

    fn plain(&self, text: &str, source: Source) -> Result<Kind> {
        if self.json {
            return Ok(json_scalar(text));
        }
        let kind = match scalar::resolve(text) {
            Implicit::Null => Some(Kind::Null),
            Implicit::Bool => scalar::boolean(text).map(Kind::Bool),
            Implicit::Int => scalar::integer(text),
            Implicit::Float => scalar::float(text).map(Kind::Float),
            Implicit::Time => scalar::time(text).map(Kind::Time),
            Implicit::Str => Some(self.string(text)),
            Implicit::Merge | Implicit::Value => {
                return Err(self.error(source, format!("`{text}` is not a value")).hint("quote it"));
            }
        };
        kind.ok_or_else(|| {
            self.error(source, format!("`{text}` looks like a number or a date and is none")).hint("quote it")
        })
    }

    fn explicit(&self, text: &str, tag: &str, source: Source) -> Result<Kind> {
        let kind = match tag.strip_prefix("tag:yaml.org,2002:") {
            Some("str") => return Ok(self.string(text)),
            Some("null") => Some(Kind::Null),
            Some("bool") => scalar::boolean(text).map(Kind::Bool),
            Some("int") => scalar::integer(text),
            Some("float") => scalar::float(text).map(Kind::Float),
            Some("timestamp") => scalar::time(text).map(Kind::Time),
            _ => return Err(self.unknown_tag(tag, source)),
        };
        kind.ok_or_else(|| self.error(source, format!("`{text}` does not fit the tag `{tag}`")))
    }

    fn unknown_tag(&self, tag: &str, source: Source) -> Diagnostic {
        self.error(source.tag_span().unwrap_or(source), format!("unknown tag `{tag}`")).hint(
            "Ansible knows `!vault`, `!unsafe` and YAML's own; a value that starts with `!` needs quotes",
        )
    }

    fn error(&self, source: Source, message: impl Into<String>) -> Diagnostic {
        let at = span(source);
        Diagnostic::new(message).at(Place::new(self.path, self.text, at.line, at.column, at.length))
    }
}

const SET: &str = "tag:yaml.org,2002:set";

/// What makes two keys the same in a Python dictionary: `1`, `1.0` and `true` are one key.
#[derive(PartialEq, Eq, Hash)]
enum Identity {
    Null,
    Number(u64),
    Integer(i128),
    Text(String),
    Time(String),
}

impl Identity {
    fn of(key: &Node) -> Self {
        match &key.kind {
            Kind::Null => Self::Null,
            Kind::Bool(value) => Self::Integer(i128::from(*value)),
            Kind::Int(value) => Self::Integer(*value),
            #[expect(clippy::cast_possible_truncation, reason = "guarded: whole and small")]
            Kind::Float(value) if value.fract() == 0.0 && value.abs() < 1e30 => Self::Integer(*value as i128),
            Kind::Float(value) => Self::Number(value.to_bits()),
            Kind::Time(text) => Self::Time(text.clone()),
            Kind::Str(_) | Kind::Unsafe(_) | Kind::Vault(_) | Kind::Seq(_) | Kind::Map(_) => {
                Self::Text(key.key())
            }
        }
    }
}

fn is_plain(event: &Event<'_>, word: &str) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, 0, None) if text == word)
}

fn tag_name(tag: &Tag) -> String {
    format!("{}{}", tag.handle(), tag.suffix())
}

fn depth(node: &Node) -> usize {
    match &node.kind {
        Kind::Seq(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Kind::Map(pairs) => 1 + pairs.iter().map(|(_, value)| depth(value)).max().unwrap_or(0),
        _ => 0,
    }
}

fn span(source: Source) -> Span {
    let (start, end): (Marker, Marker) = (source.start, source.end);
    let length = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
    Span { line: start.line().max(1), column: start.col() + 1, length: length.max(1) }
}

/// A number or word of a JSON text.
fn json_scalar(text: &str) -> Kind {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => from_json(&value).kind,
        Err(_) => Kind::Str(text.to_owned()),
    }
}

/// A JSON value without places: everything stands at the start.
fn from_json(value: &serde_json::Value) -> Node {
    use serde_json::Value;
    let kind = match value {
        Value::Null => Kind::Null,
        Value::Bool(value) => Kind::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Kind::Int(i128::from(value)),
            (_, Some(value)) => Kind::Int(i128::from(value)),
            _ => Kind::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Kind::Str(text.clone()),
        Value::Array(items) => Kind::Seq(items.iter().map(from_json).collect()),
        Value::Object(map) => match (map.len(), map.iter().next()) {
            (1, Some((key, Value::String(text)))) if key == VAULT_KEY => Kind::Vault(text.clone()),
            (1, Some((key, Value::String(text)))) if key == UNSAFE_KEY => Kind::Unsafe(text.clone()),
            _ => Kind::Map(
                map.iter()
                    .map(|(key, value)| (from_json(&Value::String(key.clone())), from_json(value)))
                    .collect(),
            ),
        },
    };
    Node { kind, span: Span { line: 1, column: 1, length: 1 } }
}
