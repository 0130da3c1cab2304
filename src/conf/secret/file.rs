//! Whole files, each kind by its own rules, so that a secret that spans lines is found.

use super::{MASK, is_secret_key, mask_line, mask_url, mask_value};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// oslo.config: values continue on indented lines.
    Oslo,
    /// rabbitmq.conf and conf.d: `key = value`, values in `'''` span lines.
    Rabbitmq,
    /// Erlang terms: advanced.config.
    Erlang,
    /// YAML: block scalars span lines.
    Yaml,
    /// A unified diff of any of these.
    Diff,
    /// Nothing but a secret: `.erlang.cookie`, a private key.
    Secret,
    /// Anything else, line by line: shell variables, JSON, logs.
    Text,
}

impl Kind {
    /// What a file of this path is.
    pub fn of(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path);
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        match extension {
            "cookie" | "key" | "pem" => Self::Secret,
            "config" => Self::Erlang,
            "yml" | "yaml" => Self::Yaml,
            "diff" | "patch" => Self::Diff,
            "conf" if stem.ends_with("-env") => Self::Text,
            "conf" if path.contains("/rabbitmq") => Self::Rabbitmq,
            "conf" | "ini" => Self::Oslo,
            _ => Self::Text,
        }
    }
}

/// `text` with every secret masked; the number of lines and every byte that is no secret stay.
pub fn mask_file(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Oslo => Lines::default().mask(text),
        Kind::Diff => Lines { diff: true, above: Above::Unknown }.mask(text),
        Kind::Yaml => yaml(text),
        Kind::Rabbitmq => rabbitmq(text),
        Kind::Erlang => erlang(text),
        Kind::Secret => {
            each_line(text, |line| if line.trim().is_empty() { line.to_owned() } else { MASK.into() })
        }
        Kind::Text => each_line(text, mask_line),
    }
}

/// The lines of `text` with their endings (`\n`, `\r\n` or `\r`).
fn split(text: &str) -> Vec<(&str, &str)> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let next = if rest[end..].starts_with("\r\n") { end + 2 } else { (end + 1).min(rest.len()) };
        lines.push((&rest[..end], &rest[end..next]));
        rest = &rest[next..];
    }
    lines
}

/// Every line through `mask`, its ending kept.
fn each_line(text: &str, mut mask: impl FnMut(&str) -> String) -> String {
    split(text).into_iter().map(|(body, ending)| mask(body) + ending).collect()
}

/// Lines of an oslo.config file, or of a diff.
#[derive(Default)]
struct Lines {
    diff: bool,
    above: Above,
}

/// What a continuation line continues.
#[derive(Default, PartialEq, Eq)]
enum Above {
    #[default]
    Plain,
    /// A key that is not shown.
    Unknown,
    /// A secret.
    Secret,
    /// A URL whose `@` has not come yet.
    OpenUrl,
}

impl Lines {
    fn mask(mut self, text: &str) -> String {
        let lines = split(text);
        let mut shown = String::with_capacity(text.len());
        for (at, (body, ending)) in lines.iter().enumerate() {
            let continued = self.continued(body, &lines[at + 1..]);
            shown.push_str(&self.line(body, continued));
            shown.push_str(ending);
        }
        shown
    }

    /// Whether the value in `line` goes on in the next line; in a diff also when that line is not shown.
    fn continued(&self, line: &str, after: &[(&str, &str)]) -> bool {
        if !self.diff {
            return after.first().is_some_and(|(next, _)| continues(next));
        }
        let sign = line.chars().next();
        let same_side =
            |next: &str| next.starts_with(' ') || next.chars().next() == sign || sign == Some(' ');
        match after.iter().find(|(next, _)| same_side(next) || next.starts_with("@@")) {
            Some((next, _)) => next.starts_with("@@") || next.get(1..).is_some_and(continues),
            None => true,
        }
    }

    fn line(&mut self, line: &str, continued: bool) -> String {
        if self.diff {
            if line.starts_with("@@") || line.starts_with("--- ") || line.starts_with("+++ ") {
                self.above = Above::Unknown;
                return mask_line(line);
            }
            if let Some(sign) = line.chars().next().filter(|sign| "+- ".contains(*sign)) {
                return format!("{sign}{}", self.option(&line[1..], continued));
            }
        }
        self.option(line, continued)
    }

    fn option(&mut self, line: &str, continued: bool) -> String {
        if line.trim().is_empty() {
            // In a diff removed and added lines mix, so there an empty line ends nothing.
            if !self.diff {
                self.above = Above::Plain;
            }
            return line.to_owned();
        }
        if continues(line) {
            let body = line.trim_start_matches([' ', '\t']);
            return format!("{}{}", &line[..line.len() - body.len()], self.continuation(body, continued));
        }
        self.above = Above::Plain;
        if line.starts_with(['#', ';', '[']) {
            return mask_line(line);
        }
        let Some(at) = line.find(['=', ':']) else { return mask_line(line) };
        let key = line[..at].trim();
        let lead = line[at + 1..].len() - line[at + 1..].trim_start().len();
        let (head, value) = line.split_at(at + 1 + lead);
        let value = value.trim_end();
        if is_secret_key(key) {
            self.above = Above::Secret;
        } else if continued && opens_url(value) {
            self.above = Above::OpenUrl;
            return head.to_owned() + &cut_url(value);
        }
        head.to_owned() + &mask_value(key, value)
    }

    fn continuation(&mut self, body: &str, continued: bool) -> String {
        match self.above {
            Above::Secret | Above::Unknown => MASK.to_owned(),
            Above::OpenUrl => {
                let Some(at) = body.rfind('@') else { return MASK.to_owned() };
                self.above = Above::Plain;
                format!("{MASK}{}", &body[at..])
            }
            Above::Plain if continued && opens_url(body) => {
                self.above = Above::OpenUrl;
                cut_url(body)
            }
            Above::Plain => mask_line(body),
        }
    }
}

fn continues(line: &str) -> bool {
    line.starts_with([' ', '\t']) && !line.trim().is_empty()
}

/// Whether `value` has a URL whose credentials may go on in the next line.
fn opens_url(value: &str) -> bool {
    value.rfind("://").is_some_and(|at| {
        let rest = &value[at + 3..];
        // Behind the last host of this line another may be begun.
        rest.rsplit_once('@').map_or(rest, |(_, host)| host).contains(',') || !rest.contains('@')
    })
}

/// A URL of which only the first part is here: what the next line may complete is not shown.
fn cut_url(value: &str) -> String {
    let scheme = value.find("://").map_or(0, |at| at + 3);
    let complete = match value.rfind('@').and_then(|at| Some(at + value[at..].find(',')? + 1)) {
        Some(end) if end > scheme => end,
        _ => scheme,
    };
    let rest = if value[complete..].is_empty() { "" } else { MASK };
    format!("{}{rest}", mask_url(&value[..complete]))
}

fn rabbitmq(text: &str) -> String {
    let mut inside = false;
    each_line(text, |line| {
        if inside {
            let end = line.find("'''");
            inside = end.is_none();
            return end.map_or(MASK.to_owned(), |at| format!("{MASK}{}", &line[at..]));
        }
        let Some((key, value)) = line.split_once('=') else { return mask_line(line) };
        let name = key.trim().trim_start_matches('#').trim();
        let opens = value.trim_start().strip_prefix("'''").is_some_and(|rest| !rest.contains("'''"));
        if opens && is_secret_key(name) {
            inside = true;
            let at = line.find("'''").expect("the value begins with it");
            return format!("{}{MASK}", &line[..at + 3]);
        }
        let lead = value.len() - value.trim_start().len();
        format!("{key}={}{}", &value[..lead], mask_value(name, value.trim()))
    })
}

/// YAML: `***` is no plain scalar there, so it gets quotes.
fn yaml(text: &str) -> String {
    // Indentation of a secret key whose value follows on deeper lines.
    let mut block: Option<usize> = None;
    each_line(text, |line| {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        if let Some(above) = block {
            if body.is_empty() {
                return line.to_owned();
            }
            if indent > above || (indent == above && body.starts_with("- ")) {
                let dash = if body.starts_with("- ") { "- " } else { "" };
                return format!("{}{dash}\"{MASK}\"", &line[..indent]);
            }
            block = None;
        }
        let item = body.trim_start_matches(['-', '#', ' ']);
        if let Some((key, value)) = item.split_once(':') {
            let bare = key.trim().trim_matches(['"', '\'']);
            let value = value.trim();
            if is_secret_key(bare) && !bare.contains(char::is_whitespace) {
                let head = &line[..line.len() - item.len()];
                if value.is_empty() || value.starts_with(['|', '>', '!', '&']) {
                    block = Some(line.len() - item.len());
                    return if value.starts_with(['|', '>']) || value.is_empty() || value.starts_with("!vault")
                    {
                        line.to_owned()
                    } else {
                        format!("{head}{key}: \"{MASK}\"")
                    };
                }
                // A quoted value may go on in the next lines.
                block = Some(line.len() - item.len());
                return format!("{head}{key}: \"{MASK}\"");
            }
        }
        mask_line(line)
    })
}

/// Erlang terms: from `{secret_key,` to the end of that tuple every text is masked; elsewhere URLs are.
fn erlang(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    let mut depth = 0_usize;
    // The depth of the tuple that holds a secret.
    let mut secret: Option<usize> = None;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '%' => rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' => quoted(rest, c),
            c if c.is_alphanumeric() || c == '_' => {
                rest.find(|c: char| !(c.is_alphanumeric() || "_@.".contains(c))).unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match c {
            '%' => shown.push_str(&mask_line(token)),
            '{' => {
                depth += 1;
                shown.push(c);
                let name = rest.trim_start().trim_start_matches('\'');
                let end =
                    name.find(|c: char| !(c.is_alphanumeric() || "_@.-".contains(c))).unwrap_or(name.len());
                let pair = name[end..].trim_start_matches('\'').trim_start().starts_with(',');
                if secret.is_none() && pair && is_secret_key(&name[..end]) {
                    secret = Some(depth);
                    let head = rest.len() - name[end..].len();
                    shown.push_str(&rest[..head]);
                    rest = &rest[head..];
                    // The closing quote of the name is no text.
                    if let Some(after) = rest.strip_prefix('\'') {
                        shown.push('\'');
                        rest = after;
                    }
                }
            }
            '}' => {
                if secret == Some(depth) {
                    secret = None;
                }
                depth = depth.saturating_sub(1);
                shown.push(c);
            }
            '"' | '\'' if secret.is_some() => {
                let lines = token.matches('\n').count();
                shown.extend([
                    &token[..1],
                    if token.len() > 2 { MASK } else { "" },
                    &"\n".repeat(lines),
                    &token[..1],
                ]);
            }
            '"' | '\'' => shown.push_str(&super::mask_urls_of(token)),
            c if secret.is_some() && (c.is_alphanumeric() || c == '_') => shown.push_str(MASK),
            _ => shown.push_str(token),
        }
    }
    shown
}

/// Length of the quoted text at the start of `text`, quotes included; all of it when it does not end.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text[1..].find(|c| {
        let closes = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |at| at + 2)
}
